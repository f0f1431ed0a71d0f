// From figures to places, and the axes that say so.

// A scale from figures to pixels; logarithmic where asked and possible.
function scale(values, from, to, wantsLog) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const isLog = wantsLog && low > 0;
  const bend = isLog ? Math.log10 : (value) => value;
  let [least, most] = [bend(low), bend(high)];
  const air = (most - least) * 0.08 || Math.abs(most) * 0.1 || 1;
  [least, most] = [least - air, most + air];
  const at = (value) => from + ((bend(value) - least) / (most - least)) * (to - from);
  const wanted = Math.max(3, Math.abs(to - from) / 90);
  const range = isLog ? [10 ** least, 10 ** most] : [least, most];
  const ticks = isLog ? logTicks(range, wanted) : linearTicks(range, wanted);
  return { at, ticks };
}

function linearTicks([least, most], wanted) {
  const rough = (most - least) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= rough);
  const ticks = [];
  for (let k = Math.ceil(least / step); k * step <= most; k += 1) ticks.push(k * step);
  return ticks;
}

function logTicks([least, most], wanted) {
  const decades = [];
  for (let k = Math.floor(Math.log10(least)); 10 ** k <= most; k += 1) decades.push(10 ** k);
  for (const digits of [[1], [1, 3], [1, 2, 5]].reverse()) {
    const all = decades.flatMap((decade) => digits.map((digit) => digit * decade));
    const ticks = all.filter((tick) => tick >= least && tick <= most);
    if (ticks.length >= 3 && ticks.length <= 2 * wanted) return ticks;
  }
  return linearTicks([least, most], wanted).filter((tick) => tick > 0);
}

const TEXT = document.createElement("canvas").getContext("2d");

function textWidth(text) {
  TEXT.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return TEXT.measureText(text).width;
}

// Grid, ticks and titles of a chart of this size, with `margin` left, right, top, bottom.
function frame(size, margin, x, y, titles) {
  const [left, right, top, bottom] = margin;
  const [width, height] = size;
  const parts = svg("g", { "aria-hidden": "true" });
  let free = left;
  for (const tick of x.ticks) {
    const [at, text] = [x.at(tick), short(tick)];
    const half = textWidth(text) / 2 + 4;
    parts.append(svg("line", { class: "grid", x1: at, x2: at, y1: top, y2: height - bottom }));
    // A tick whose number has no room keeps its line.
    if (at - half < free - 12 || at + half > width) continue;
    free = at + half;
    const place = { class: "tick", x: at, y: height - bottom + 16, "text-anchor": "middle" };
    parts.append(svg("text", place, text));
  }
  for (const tick of y.ticks) {
    const at = y.at(tick);
    parts.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }));
    const place = { class: "tick", x: left - 6, y: at + 4, "text-anchor": "end" };
    parts.append(svg("text", place, short(tick)));
  }
  const across = { x: width - right, y: height - bottom + 34, "text-anchor": "end" };
  parts.append(svg("text", across, titles[0]), svg("text", { x: 4, y: 12 }, titles[1]));
  return parts;
}
