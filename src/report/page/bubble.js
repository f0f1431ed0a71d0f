// The bubble chart: a model's marker at two figures, as large as a third.

// Title, divisor of the figure, and whether its axis is logarithmic.
const MEASURES = {
  accuracy: ["Test accuracy, %", 1, false],
  examples: ["Training speed, examples/s", 1, true],
  steps: ["Training speed, steps/s", 1, true],
  tokens: ["Training speed, tokens/s", 1, true],
  speed_ratio: ["Speed over Transformer's", 1, true],
  memory_ratio: ["Memory over Transformer's", 1, true],
  live: ["Peak memory, live heap, GB", 1e9, true],
  resident: ["Peak memory, resident, GB", 1e9, true],
  pool: ["Peak memory, GPU pool, GB", 1e9, true],
  parameters: ["Parameters", 1, true],
};
const NONE = "none";
const hiddenModels = new Set();

const title = (measure) => MEASURES[measure][0];
const has = (point, measure) => measure === NONE || point[measure] !== null;
const value = (point, measure) => point[measure] / MEASURES[measure][1];

// The choices there are, each limited by those before it.
function bubbleChoices(charts) {
  const isScored = (chart) => chart.points.some((point) => has(point, "accuracy"));
  const first = charts.find(isScored) ?? charts[0];
  const tasks = unique(charts.map((chart) => chart.task));
  options(byId("task"), tasks.map((task) => [task, task]), first?.task);
  const ofTask = charts.filter((chart) => chart.task === byId("task").value);
  const lengths = unique(ofTask.map((chart) => `${chart.length ?? "all"}`));
  options(byId("length"), lengths.map((length) => [length, length]));
  const ofLength = ofTask.filter((chart) => `${chart.length ?? "all"}` === byId("length").value);
  const machines = ofLength.map((chart) => chart.machine);
  options(byId("machine"), machines.map((machine) => [machine, machine]));
  const chart = ofLength.find((chart) => chart.machine === byId("machine").value);
  const points = chart?.points ?? [];
  const there = Object.keys(MEASURES).filter((m) => points.some((point) => has(point, m)));
  const pairs = there.map((measure) => [measure, title(measure)]);
  const memory = ["pool", "live", "resident"].find((measure) => there.includes(measure));
  options(byId("across"), pairs, "examples");
  options(byId("up"), pairs, "accuracy");
  options(byId("size"), [...pairs, [NONE, "all of one size"]], memory);
  return points;
}

function drawBubble(charts) {
  const points = bubbleChoices(charts);
  const [across, up, size] = ["across", "up", "size"].map((id) => byId(id).value);
  const place = byId("bubble");
  legend(points, charts);
  const whole = points.filter((point) => [across, up, size].every((m) => has(point, m)));
  const lost = points.filter((point) => !whole.includes(point));
  const why = (point) => `${point.title}: ${has(point, "accuracy") ? "not measured" : point.told}`;
  byId("missing").textContent = lost.length ? `Not shown: ${lost.map(why).join("; ")}.` : "";
  const shown = whole.filter((point) => !hiddenModels.has(point.model));
  if (!shown.length) {
    place.replaceChildren(html("p", { class: "note" }, "No model has all of these figures."));
    return;
  }
  const width = Math.max(280, place.clientWidth);
  const isNarrow = width < 560;
  const [height, margin] = [isNarrow ? 380 : 520, [46, 12, 28, 44]];
  const [x, y] = [[across, margin[0], width - margin[1]], [up, height - margin[3], margin[2]]].map(
    ([m, from, to]) => scale(shown.map((point) => value(point, m)), from, to, MEASURES[m][2]),
  );
  const largest = Math.max(...shown.map((point) => (size === NONE ? 1 : point[size])));
  const full = isNarrow ? 16 : 24;
  // The area tells the figure; what is below it would be too small to hit.
  const radius = (point) =>
    size === NONE ? 7 : Math.max(4, full * Math.sqrt(point[size] / largest));
  const spots = shown.map((point) => ({
    point,
    title: point.title,
    x: x.at(value(point, across)),
    y: y.at(value(point, up)),
    radius: radius(point),
  }));
  const name = `${title(up)} against ${title(across)}, ${byId("task").value}`;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": name });
  drawing.append(frame([width, height], margin, x, y, [title(across), title(up)]));
  // The large first, so that none hides a smaller one; the keys go from left to right.
  const byX = [...spots].sort((a, b) => a.x - b.x);
  for (const spot of [...spots].sort((a, b) => b.radius - a.radius)) {
    drawing.append(dot(spot, byX, place));
  }
  byX[0].node.setAttribute("tabindex", "0");
  const bounds = [margin[0], margin[2] - 8, width - margin[1], height - margin[3]];
  for (const [spot, box] of placeLabels(spots, bounds)) {
    const at = { x: box[0] + 2, y: box[3] - 4, class: "label", "pointer-events": "none" };
    drawing.append(svg("text", at, spot.title));
  }
  place.replaceChildren(drawing);
}

function dot(spot, order, place) {
  const { point, x, y, radius } = spot;
  const known = Object.keys(MEASURES).filter((measure) => has(point, measure));
  const pairs = known.map((measure) =>
    measure === "accuracy"
      ? [title(measure), point.told]
      : [title(measure), figure(value(point, measure))],
  );
  const show = () => tip(place, [x, y], point.title, pairs);
  const hide = () => tip(place, null);
  const step = (event) => {
    if (event.key === "Escape") hide();
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = order[(order.indexOf(spot) + by + order.length) % order.length].node;
    spot.node.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  };
  const told = `${point.title}: ${pairs.map((pair) => pair.join(" ")).join(", ")}`;
  const attributes = { class: "dot", role: "img", tabindex: "-1", "aria-label": told };
  const events = { pointerenter: show, pointerleave: hide, focus: show, blur: hide, keydown: step };
  spot.node = svg("g", { ...attributes, ...events }, mark(point.model, x, y, radius));
  spot.node.dataset.model = point.model;
  return spot.node;
}

// One button a model: it takes the marker away and puts it back, and lights it up.
function legend(points, charts) {
  const light = (model, isLit) => {
    for (const dot of byId("bubble").querySelectorAll(".dot")) {
      dot.classList.toggle("lit", isLit && dot.dataset.model === model);
    }
  };
  const entry = ({ model, title }) => {
    const toggle = (event) => {
      if (!hiddenModels.delete(model)) hiddenModels.add(model);
      event.currentTarget.setAttribute("aria-pressed", `${!hiddenModels.has(model)}`);
      const at = [...byId("legend").children].indexOf(event.currentTarget);
      drawBubble(charts);
      byId("legend").children[at].focus();
    };
    const [on, off] = [() => light(model, true), () => light(model, false)];
    const events = { click: toggle, pointerenter: on, focus: on, pointerleave: off, blur: off };
    const state = { type: "button", "aria-pressed": `${!hiddenModels.has(model)}` };
    const sample = svg("svg", { viewBox: "-9 -9 18 18", "aria-hidden": "true" }, mark(model, 0, 0, 6));
    return html("button", { ...state, ...events }, sample, title);
  };
  byId("legend").replaceChildren(...points.map(entry));
}
