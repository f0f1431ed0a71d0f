// Puts the page together and listens.

const THEMES = ["light", "dark"];
const chosen = new Set();
let runs = { shown: () => [] };
let runsHere = [];

const preset = () => DATA.presets.find((one) => one.name === byId("preset").value);
const charts = () => preset()?.charts ?? [];

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const other = THEMES[1 - THEMES.indexOf(theme)];
  byId("theme").textContent = `${other[0].toUpperCase()}${other.slice(1)} theme`;
}

function list(title, lines, ordered) {
  const items = lines.map((line) => html("li", {}, line));
  return lines.length ? [html("h3", {}, title), html(ordered ? "ol" : "ul", {}, ...items)] : [];
}

// The first run of each model on the first task that has curves.
function chooseFirst() {
  const task = runsHere.find((run) => run.curve.length)?.task;
  const seen = new Set();
  for (const run of runsHere) {
    if (run.task !== task || !run.curve.length || seen.has(run.model)) continue;
    if (seen.size === NAMED) return;
    seen.add(run.model);
    chosen.add(run);
  }
}

function listRuns() {
  runs = runTable(runsHere, chosen, () => drawCurves(chosen));
  byId("runs").replaceChildren(runs.element);
}

function drawPreset() {
  const here = preset();
  const hasCharts = charts().length > 0;
  byId("bubble").parentElement.hidden = !hasCharts;
  if (hasCharts) drawBubble(charts());
  tables(byId("accuracy"), here ? [here.accuracy] : []);
  byId("notes").replaceChildren(...list("Notes", here?.notes ?? [], true));
  tables(byId("speed"), here?.speed ?? []);
  runsHere = DATA.runs.filter((run) => run.preset === here?.name);
  byId("runs").parentElement.hidden = runsHere.length === 0;
  chosen.clear();
  chooseFirst();
  listRuns();
  drawCurves(chosen);
}

function choose(all) {
  // The box of each row is made anew with the table, whose words stay.
  const words = byId("runs").querySelector("input[type=search]").value;
  const places = runs.shown();
  chosen.clear();
  if (all) places.map((at) => runsHere[at]).filter((run) => run.curve.length).forEach((run) => chosen.add(run));
  listRuns();
  const input = byId("runs").querySelector("input[type=search]");
  input.value = words;
  input.dispatchEvent(new Event("input"));
  drawCurves(chosen);
}

function start() {
  setTheme(THEMES[Number(matchMedia("(prefers-color-scheme: dark)").matches)]);
  byId("theme").addEventListener("click", () => {
    setTheme(THEMES[1 - THEMES.indexOf(document.documentElement.dataset.theme)]);
  });
  const runsOf = (one) => DATA.runs.filter((run) => run.preset === one.name).length;
  const most = [...DATA.presets].sort((a, b) => runsOf(b) - runsOf(a))[0];
  options(byId("preset"), DATA.presets.map((one) => [one.name, one.name]), most?.name);
  options(byId("curve"), Object.entries(CURVES).map(([key, [, name]]) => [key, name]));
  byId("preset").addEventListener("change", drawPreset);
  byId("curve").addEventListener("change", () => drawCurves(chosen));
  for (const id of ["task", "length", "machine", "across", "up", "size"]) {
    byId(id).addEventListener("change", () => drawBubble(charts()));
  }
  byId("all").addEventListener("click", () => choose(true));
  byId("none").addEventListener("click", () => choose(false));
  byId("summary").textContent = DATA.summary;
  byId("origin").append(
    html("p", {}, "Made with ", html("code", {}, DATA.command), `, lra ${DATA.lra}.`),
    ...list("Files skipped", DATA.skipped, false),
  );
  drawPreset();
  tables(byId("measured"), DATA.measured);
  tables(byId("published"), DATA.published);
  // Drawn for the width there is; the first call tells the one they were drawn for.
  let width = byId("content").clientWidth;
  const redraw = () => {
    if (byId("content").clientWidth === width) return;
    width = byId("content").clientWidth;
    if (charts().length) drawBubble(charts());
    drawCurves(chosen);
  };
  // In a frame of its own: what it draws may change the width again.
  new ResizeObserver(() => requestAnimationFrame(redraw)).observe(byId("content"));
}

start();
