"use strict";

// What the rest builds the page with. Nothing of the data is ever parsed as markup: it goes
// into the page as text and as attributes, so a name may hold anything.

const DATA = JSON.parse(document.getElementById("data").textContent);
const LOOKS = new Map(DATA.models.map((model) => [model.name, model]));

const byId = (id) => document.getElementById(id);

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function html(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

// Options of `[value, title]`; what was chosen stays so where it still exists.
function options(select, all, preferred) {
  const before = select.value;
  select.replaceChildren(...all.map(([value, title]) => html("option", { value }, title)));
  const wanted = [before, preferred].find((value) => all.some((option) => option[0] === value));
  if (wanted !== undefined) select.value = wanted;
  select.disabled = all.length < 2;
}

const unique = (values) => [...new Set(values)];

function figure(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

function short(value) {
  return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
}

// A model's marker: colour and shape are those of the printed charts.
function mark(model, x, y, radius) {
  const look = LOOKS.get(model);
  const kind = look.is_open ? "mark open" : "mark";
  const corner = ([dx, dy]) => `${x + dx * radius},${y + dy * radius}`;
  const made = look.outline.length
    ? svg("polygon", { class: kind, points: look.outline.map(corner).join(" ") })
    : svg("circle", { class: kind, cx: x, cy: y, r: radius });
  made.style.setProperty("--c", look.colour);
  return made;
}

// Pairs beside a point of a chart, kept inside it; `null` takes them away.
function tip(chart, at, title, pairs) {
  for (const old of chart.querySelectorAll(".tip")) old.remove();
  if (at === null) return;
  const lines = pairs.flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, value)]);
  const box = html("div", { class: "tip" }, html("strong", {}, title), html("dl", {}, ...lines));
  chart.append(box);
  const room = chart.clientWidth - box.offsetWidth;
  const isRight = at[0] + 16 <= room;
  const left = isRight ? at[0] + 16 : at[0] - box.offsetWidth - 16;
  box.style.left = `${Math.max(0, Math.min(left, room))}px`;
  const low = chart.clientHeight - box.offsetHeight;
  box.style.top = `${Math.max(0, Math.min(at[1] - box.offsetHeight / 2, low))}px`;
}
