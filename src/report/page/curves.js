// Learning curves of the chosen runs, a panel for each task.

// Where the figure is in a point, and its title.
const CURVES = {
  accuracy: [3, "Validation accuracy, %"],
  validation: [2, "Validation loss"],
  training: [1, "Training loss"],
};
// Names at the ends of more lines than this have no room.
const NAMED = 14;

function drawCurves(chosen) {
  const [index, name] = CURVES[byId("curve").value];
  const tasks = unique([...chosen].map((run) => run.task));
  const place = byId("curves");
  if (!tasks.length) {
    place.replaceChildren(html("p", { class: "note" }, "No run is chosen."));
    return;
  }
  const panels = tasks.map((task) => [task, html("div", { class: "chart" })]);
  place.replaceChildren(
    ...panels.map(([task, chart]) => html("div", {}, html("h3", {}, task), chart)),
  );
  for (const [task, chart] of panels) {
    const lines = [...chosen].filter((run) => run.task === task);
    const points = (run) => run.curve.map((p) => [p[0], p[index]]).filter((p) => p[1] !== null);
    const drawn = lines.map((run) => ({ run, points: points(run) }));
    panel(chart, drawn.filter((line) => line.points.length), name, task);
  }
}

function panel(chart, lines, name, task) {
  if (!lines.length) {
    chart.append(html("p", { class: "note" }, "No such figure was recorded."));
    return;
  }
  const [width, height] = [Math.max(280, chart.clientWidth), 320];
  const areNamed = lines.length <= NAMED;
  const seeds = (run) => (unique(lines.map((line) => line.run.seed)).length > 1 ? ` s${run.seed}` : "");
  const label = (run) => `${run.title}${seeds(run)}`;
  const widest = Math.max(...lines.map(({ run }) => textWidth(label(run))));
  // Long names would leave a narrow screen no curve.
  const room = areNamed && widest < width * 0.4 ? widest + 4 : 12;
  const margin = [46, room, 28, 44];
  const all = lines.flatMap((line) => line.points);
  // Between the last points and the names, leaders go from one to the other.
  const x = scale(all.map((p) => p[0]), margin[0], width - margin[1] - 10, false);
  const y = scale(all.map((p) => p[1]), height - margin[3], margin[2], false);
  const about = { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `${name}, ${task}` };
  const drawing = svg("svg", about, frame([width, height], margin, x, y, ["Step", name]));
  const ends = stack(lines.map((line) => y.at(line.points.at(-1)[1])), margin[2], height - margin[3]);
  lines.forEach(({ run, points }, i) => {
    const places = points.map((p) => [x.at(p[0]), y.at(p[1])]);
    const last = places.at(-1);
    const path = places.map((p) => p.map((v) => v.toFixed(1)).join(",")).join(" ");
    const line = svg("polyline", { class: "curve", points: path });
    line.style.setProperty("--c", LOOKS.get(run.model).colour);
    const show = () => {
      const [step, value] = points.at(-1);
      const pairs = [["Last step", step.toLocaleString("en")], [name, figure(value)], ["Outcome", run.outcome]];
      tip(chart, last, `${run.title}, seed ${run.seed}`, pairs);
    };
    const hide = () => tip(chart, null);
    const escape = (event) => event.key === "Escape" && hide();
    const events = { pointerenter: show, pointerleave: hide, focus: show, blur: hide, keydown: escape };
    const told = `${run.title}, seed ${run.seed}: ${name} ${figure(points.at(-1)[1])}`;
    const group = { class: "line", role: "img", tabindex: "0", "aria-label": told, ...events };
    const hit = svg("polyline", { class: "hit", points: path });
    drawing.append(svg("g", group, line, hit, mark(run.model, last[0], last[1], 4)));
    if (areNamed && room > 12) {
      const to = `${last.join(",")} ${width - room - 4},${ends[i]}`;
      const leader = svg("polyline", { class: "leader", points: to });
      leader.style.setProperty("--c", LOOKS.get(run.model).colour);
      const at = { x: width - room, y: ends[i] + 4, class: "label", "pointer-events": "none" };
      drawing.append(leader, svg("text", at, label(run)));
    }
  });
  chart.append(drawing);
}

// Heights for labels in a column, each as near to its own as the others allow.
function stack(wanted, top, bottom) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const gap = Math.min(LABEL_HEIGHT, (bottom - top) / Math.max(1, wanted.length));
  const placed = [];
  order.forEach((i, n) => {
    const above = n > 0 ? placed[order[n - 1]] + gap : top;
    placed[i] = Math.max(wanted[i], above);
  });
  let limit = bottom;
  for (const i of [...order].reverse()) {
    placed[i] = Math.min(placed[i], limit);
    limit = placed[i] - gap;
  }
  return placed;
}
