// Tables that sort by a click on their header and filter by words.

// What a cell's text is worth: its leading number, past the `n^` of a power.
function worth(text) {
  const found = text.replace(/^n\^/, "").match(/^[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?/i);
  return found ? Number(found[0].replaceAll(",", "")) : NaN;
}

// A table of texts, its header first. `lead` makes a node to stand before each row. Gives
// its element and a function that lists the places of the rows shown.
function table({ title, rows, notes }, lead) {
  const [header, ...body] = rows;
  // By most of the cells that say anything: a word like FAIL may stand among figures.
  const isNumeric = header.map((_, i) => {
    const told = body.filter((row) => !/^(-( |$)|$)/.test(row[i] ?? ""));
    const words = told.filter((row) => isNaN(worth(row[i])));
    return i > 0 && words.length * 2 <= told.length;
  });
  const kind = (i) => (isNumeric[i] ? {} : { class: "words" });
  const lines = body.map((row, at) => {
    const cells = header.map((_, i) => html("td", { ...kind(i), title: longer(row[i]) }, row[i] ?? ""));
    if (lead) cells.unshift(html("td", {}, lead(at)));
    const text = row.join(" ").toLowerCase();
    // What is about all models, and no model, stays below them.
    return { at, row, text, isLast: (row[0] ?? "").startsWith("("), node: html("tr", {}, ...cells) };
  });
  const rest = html("tbody", {}, ...lines.map((line) => line.node));
  const heads = header.map((name, i) => {
    const sort = html("button", { type: "button", click: () => sortBy(i) }, name);
    return html("th", { ...kind(i), scope: "col", "aria-sort": "none" }, sort);
  });

  function sortBy(i) {
    const isDown = heads[i].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.setAttribute("aria-sort", "none"));
    heads[i].setAttribute("aria-sort", isDown ? "descending" : "ascending");
    const sign = isDown ? -1 : 1;
    const key = (line) => (isNumeric[i] ? worth(line.row[i] ?? "") : (line.row[i] ?? ""));
    const byKey = (a, b) => {
      const [p, q] = [key(a), key(b)];
      if (!isNumeric[i]) return sign * p.localeCompare(q, "en", { numeric: true });
      // What has no figure comes last, whichever way.
      if (isNaN(p) || isNaN(q)) return isNaN(p) - isNaN(q);
      return sign * (p - q);
    };
    const sorted = [...lines].sort((a, b) => a.isLast - b.isLast || byKey(a, b) || a.at - b.at);
    rest.append(...sorted.map((line) => line.node));
  }

  const input = html("input", { type: "search", "aria-label": `Filter: ${title}`, placeholder: "Filter" });
  const count = html("output", { "aria-live": "polite" });
  function filter() {
    const words = input.value.toLowerCase().split(/\s+/).filter((word) => word);
    for (const line of lines) line.node.hidden = !words.every((word) => line.text.includes(word));
    const shown = lines.filter((line) => !line.node.hidden).length;
    const all = `${lines.length} ${lines.length === 1 ? "row" : "rows"}`;
    count.textContent = shown === lines.length ? all : `${shown} of ${all}`;
  }
  input.addEventListener("input", filter);
  filter();

  const top = html("tr", {}, ...(lead ? [html("th", { scope: "col" }, "")] : []), ...heads);
  const grid = html("table", {}, html("thead", {}, top), rest);
  const element = html(
    "div",
    {},
    html("h3", {}, title),
    html("div", { class: "filter" }, input, count),
    html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, grid),
    ...notes.map((note) => html("p", { class: "note" }, note)),
  );
  const shown = () => lines.filter((line) => !line.node.hidden).map((line) => line.at);
  return { element, shown };
}

// The whole text of a cell that may be cut.
const longer = (text) => (text && text.length > 40 ? text : null);

function tables(place, all) {
  place.replaceChildren(...all.map((one) => table(one).element));
  place.parentElement.hidden = all.length === 0;
}

const RUN_COLUMNS = [
  ["Model", (run) => run.title],
  ["Task", (run) => run.task],
  ["Seed", (run) => `${run.seed}`],
  ["Outcome", (run) => (run.reason ? `${run.outcome}: ${run.reason}` : run.outcome)],
  ["Accuracy, %", (run) => run.accuracy?.toFixed(2)],
  ["Steps", (run) => run.steps?.toLocaleString("en")],
  ["Parameters", (run) => run.parameters?.toLocaleString("en")],
  ["Steps/s", (run) => run.steps_per_second && figure(run.steps_per_second)],
  ["Examples/s", (run) => run.examples_per_second && figure(run.examples_per_second)],
  ["Peak GB, live heap", (run) => run.peak_live && figure(run.peak_live / 1e9)],
  ["Peak GB, resident", (run) => run.peak_resident && figure(run.peak_resident / 1e9)],
  ["Peak GB, GPU pool", (run) => run.peak_pool && figure(run.peak_pool / 1e9)],
  ["Seconds", (run) => run.seconds && figure(run.seconds)],
  ["Machine", (run) => run.machine],
  ["Folder", (run) => run.folder],
];

// The table of these runs, with a box to choose each. Columns that say nothing are left out.
function runTable(runs, chosen, change) {
  const columns = RUN_COLUMNS.filter(([, cell]) => runs.some((run) => cell(run)));
  const rows = runs.map((run) => columns.map(([, cell]) => cell(run) || "-"));
  const box = (at) => {
    const run = runs[at];
    const name = `Curve of ${run.title}, ${run.task}, seed ${run.seed}`;
    const toggle = (event) => {
      if (event.target.checked) chosen.add(run);
      else chosen.delete(run);
      change();
    };
    const made = html("input", { type: "checkbox", "aria-label": name, change: toggle });
    made.checked = chosen.has(run);
    made.disabled = run.curve.length === 0;
    return made;
  };
  const titled = { title: "Runs: choose whose curves are drawn", rows: [columns.map(([name]) => name), ...rows], notes: [] };
  return table(titled, box);
}
