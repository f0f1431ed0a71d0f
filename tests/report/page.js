// Works the page as a reader would and writes what came of it, a line for each check.
// HARD is a name put there to break out of its place.
"use strict";

const lines = [];
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const expect = (is, what) => {
  if (!is) throw new Error(what);
};
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const pick = (id, value) => {
  one(id).value = value;
  expect(one(id).value === value, `${id} has no ${value}`);
  one(id).dispatchEvent(new Event("change"));
};
const type = (input, words) => {
  input.value = words;
  input.dispatchEvent(new Event("input"));
};
const press = (node, key) => node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const point = (node, kind) => node.dispatchEvent(new PointerEvent(kind));
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
const rows = (id) => all(`${id} tbody tr`).filter((row) => !row.hidden);
const column = (id, i) => rows(id).map((row) => row.cells[i].textContent);

function legible() {
  const edge = one("#bubble svg").getBoundingClientRect();
  const labels = all("#bubble .label").map((node) => node.getBoundingClientRect());
  const marks = all("#bubble .mark").map((node) => node.getBoundingClientRect());
  expect(labels.length > 10, `${labels.length} labels`);
  labels.forEach((label, i) => {
    expect(label.left >= edge.left && label.right <= edge.right, "a label leaves the chart");
    expect(!labels.slice(i + 1).some((other) => meet(label, other)), "labels overlap");
    // A label is one line of 15 pixels in a box that may be a little higher.
    const body = { left: label.left, right: label.right, top: label.top + 2, bottom: label.bottom - 2 };
    expect(!marks.some((mark) => meet(body, mark)), "a label lies on a marker");
  });
}

const CHECKS = {
  "the chart is drawn"() {
    expect(all("#bubble .dot").length === EXPECTED.dots, `${all("#bubble .dot").length} dots`);
    expect(one("#missing").textContent.includes(EXPECTED.missing), one("#missing").textContent);
    legible();
  },
  "hovering tells of a model"() {
    const dot = all("#bubble .dot").find((dot) => dot.dataset.model === "model-3");
    point(dot, "pointerenter");
    const text = one("#bubble .tip").textContent;
    expect(text.includes("model-3") && text.includes("Test accuracy, %"), text);
    const [box, chart] = [one("#bubble .tip"), one("#bubble")].map((n) => n.getBoundingClientRect());
    expect(box.left >= chart.left && box.right <= chart.right, "it leaves the chart");
    point(dot, "pointerleave");
    expect(!one("#bubble .tip"), "it stays");
  },
  "keys go from model to model"() {
    const stops = all('#bubble .dot[tabindex="0"]');
    expect(stops.length === 1, `${stops.length} stops`);
    stops[0].focus();
    const first = one("#bubble .tip strong").textContent;
    press(stops[0], "ArrowRight");
    const second = one("#bubble .tip strong").textContent;
    expect(first !== second && document.activeElement !== stops[0], `${first}, ${second}`);
    press(document.activeElement, "ArrowLeft");
    expect(document.activeElement === stops[0], "there and back");
    press(stops[0], "Escape");
    expect(!one("#bubble .tip"), "Escape does not close");
    const mute = all("button, input, select, [tabindex='0']").filter((node) => {
      const isNamed = node.textContent.trim() || node.getAttribute("aria-label");
      return node.tabIndex < 0 || !(isNamed || node.closest("label"));
    });
    expect(mute.length === 0, `without a key or a name: ${mute.map((n) => n.outerHTML).join()}`);
  },
  "axes and bubbles can be chosen"() {
    const places = () => all("#bubble .dot").map((dot) => dot.getBoundingClientRect().left).join();
    const before = places();
    pick("#across", "parameters");
    expect(places() !== before && one("#bubble").textContent.includes("Parameters"), "across");
    const widths = () => unique(all("#bubble circle").map((dot) => dot.getAttribute("r"))).length;
    expect(widths() > 1, "bubbles of one size");
    pick("#size", "none");
    expect(widths() === 1, "bubbles of several sizes");
    pick("#task", "Text");
    expect(one("#bubble svg").getAttribute("aria-label").includes("Text"), "task");
    pick("#across", "examples");
    pick("#length", "2048");
    expect(all("#bubble .dot").length === 1, "length");
    pick("#length", "1024");
    pick("#size", "live");
    pick("#task", "Average of 5 (paper)");
    pick("#preset", "lra");
    expect(rows("#accuracy").length === 2, "preset");
    pick("#preset", "quick");
  },
  "the legend takes a model away"() {
    const [button] = all("#legend button").filter((b) => b.textContent === "model-3");
    button.click();
    expect(!all("#bubble .dot").some((dot) => dot.dataset.model === "model-3"), "still there");
    expect(document.activeElement.getAttribute("aria-pressed") === "false", "focus or state lost");
    document.activeElement.click();
    expect(all("#bubble .dot").length === EXPECTED.dots, "not back");
  },
  "a table is filtered"() {
    const input = one("#runs input[type=search]");
    type(input, "TEXT model-7");
    expect(rows("#runs").length === 5, `${rows("#runs").length} rows`);
    expect(one("#runs output").textContent === `5 of ${EXPECTED.runs} rows`, one("#runs output").textContent);
    type(input, "no such thing");
    expect(rows("#runs").length === 0, "of nothing");
    type(input, "");
    expect(rows("#runs").length === EXPECTED.runs, "all again");
  },
  "a table is sorted"() {
    const [head] = all("#accuracy th").filter((th) => th.textContent.startsWith("ListOps"));
    const i = head.cellIndex;
    const figures = () => column("#accuracy", i).slice(0, -1).map(parseFloat);
    const isSorted = (sign) =>
      figures().every((v, k, v_) => k === 0 || isNaN(v) || sign * (v - v_[k - 1]) >= 0);
    const failsLast = () => column("#accuracy", i).at(-2).includes("FAIL");
    head.querySelector("button").click();
    expect(head.getAttribute("aria-sort") === "ascending" && isSorted(1) && failsLast(), "up");
    head.querySelector("button").click();
    expect(head.getAttribute("aria-sort") === "descending" && isSorted(-1) && failsLast(), "down");
    expect(column("#accuracy", 0).at(-1) === "(majority class)", "the last row moved");
    one("#accuracy th button").click();
    const names = column("#accuracy", 0).filter((name) => /^model-\d+$/.test(name));
    expect(names.indexOf("model-9") < names.indexOf("model-10"), "names");
  },
  "curves of chosen runs are drawn"() {
    expect(all("#curves .line").length > 1, "none at first");
    one("#none").click();
    expect(one("#curves").textContent === "No run is chosen.", "still some");
    rows("#runs")[0].querySelector("input").click();
    expect(all("#curves .line").length === 1, "not one");
    type(one("#runs input[type=search]"), "model-7");
    one("#all").click();
    expect(all("#curves svg").length === 5, "a panel for each task");
    expect(all("#curves .line").length === 25, `${all("#curves .line").length} lines`);
    point(one("#curves .line"), "pointerenter");
    expect(one("#curves .tip").textContent.includes("model-7"), "hover");
    pick("#curve", "training");
    expect(one("#curves").textContent.includes("Training loss"), "figure");
  },
  "the theme is switched"() {
    const back = () => getComputedStyle(document.body).backgroundColor;
    const [before, name] = [back(), one("#theme").textContent];
    one("#theme").click();
    expect(back() !== before && one("#theme").textContent !== name, back());
    one("#theme").click();
    expect(back() === before, "not back");
  },
  "names do no harm"() {
    expect(window.harm === undefined && all("img").length === 0, "they did");
    expect(column("#accuracy", 0).includes(EXPECTED.hard), "the name is not there as it is");
  },
  async "nothing is wider than a telephone"() {
    const before = one("#bubble svg").getAttribute("viewBox");
    document.documentElement.style.width = "400px";
    await wait(500);
    expect(one("#bubble svg").getAttribute("viewBox") !== before, "not drawn anew");
    const scrolls = (box) => box && getComputedStyle(box).overflowX === "auto";
    const wide = all("body *").filter((node) => {
      const isWide = node.getBoundingClientRect().right > 400;
      return isWide && !scrolls(node.parentElement.closest(".scroll"));
    });
    expect(wide.length === 0, wide.map((node) => node.outerHTML.slice(0, 90)).join("\n"));
    legible();
  },
};

(async () => {
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      await check();
      lines.push(`passed: ${name}`);
    } catch (error) {
      lines.push(`failed: ${name}: ${error.message}`.replaceAll("\n", " "));
    }
  }
  for (const error of window.errors) lines.push(`failed: an error of the page: ${error}`);
  document.body.append(html("pre", { id: "checks" }, `\nchecks begin\n${lines.join("\n")}\nchecks end\n`));
})();
