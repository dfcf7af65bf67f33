// The revision axis, which runs left to right in every pane of the store (axis.py is its twin): one
// column a revision, below its number a band in the colour of the term that made it, and the
// compaction frontier as a vertical dashed line. Earlier revisions are folded up where they do not
// fit; dragging the axis, or the arrows on it, look further back.

const GUTTER = 118, FOLD = 46, NARROWEST = 11, WIDEST = 96, AXIS_HIGH = 34;

function axisOf(line, bench, width, gutter = GUTTER, right = 20) {
  const newest = Math.max(2, Store.revision(line)), last = Math.max(2, Math.min(newest, bench.until || newest));
  const room = width - gutter - right, fits = Math.max(3, Math.floor(room / NARROWEST));
  let first = 2;
  if (last - 1 > fits) first = last - Math.floor((room - FOLD) / NARROWEST) + 1;
  const folded = first - 2, later = newest - last, start = gutter + (folded ? FOLD : 0);
  const step = Math.min(WIDEST, (room - (folded ? FOLD : 0)) / (last - first + 1));
  const x = (revision) => (revision < first ? (folded ? gutter + FOLD / 2 : start) : start + step * (Math.min(revision, last + 1) - first + 0.5));
  const edge = (revision) => (revision < first ? gutter + (folded ? FOLD / 2 : 0) : start + step * (Math.min(revision, last + 1) - first));
  const at = (px) => Math.max(first, Math.min(last, Math.floor((px - start) / step) + first));
  return { first, last, newest, folded, later, start, step, gutter, width, end: start + step * (last - first + 1), x, edge, at,
    shows: (revision) => first <= revision && revision <= last };
}

function drawAxis(line, bench, axis, bottom) { // from the top of the picture on, AXIS_HIGH high
  const { first, last, step } = axis, numbers = [], bands = [], grid = [];
  const folded = axis.folded > 1 ? `2…${first - 1}` : axis.folded ? "2" : "";
  const every = [1, 2, 5, 10, 20, 50, 100, 200].find((n) => n * step > 26) || 500;
  for (let revision = first; revision <= last; revision++) {
    if (step >= 16) grid.push(h("path", { d: `M${axis.x(revision)},${AXIS_HIGH} V${bottom}`, class: "kv-grid" }));
    if (revision !== last && (revision % every || last - revision < 0.7 * every)) continue;
    if (axis.tab && Math.abs(axis.x(revision) - axis.x(axis.tab)) < 26) continue; // the revision that is read has its number there
    if (folded && axis.x(revision) - 3.5 * String(revision).length < axis.gutter + 2 + wide(folded)) continue;
    numbers.push(h("text", { x: axis.x(revision), y: 13, class: "kv-tiny", "text-anchor": "middle" }, revision));
  }
  if (folded) numbers.push(h("text", { x: axis.gutter - 2, y: 13, class: "kv-tiny" }, folded));
  for (const [a, b, term] of termRuns(line)) {
    const from = Math.max(a, first), to = Math.min(b, last);
    if (from > to) continue;
    const left = axis.edge(from) + 0.5, room = axis.edge(to + 1) - left - 0.5;
    bands.push(h("rect", { x: left, y: 18, width: Math.max(1, room), height: 11, rx: 2, style: bench.colours(term), class: "kv-band-of" }));
    const told = [`term ${term}`, String(term)].find((t) => wide(t, 9.5) < room - 3);
    if (told && term) bands.push(h("text", { x: left + room / 2, y: 27, "text-anchor": "middle", style: bench.colours(term), class: "kv-band-word" }, told));
  }
  return [...grid, h("text", { x: 2, y: 13, class: "kv-tiny" }, "revision"), h("text", { x: 2, y: 27, class: "kv-tiny" }, "term"),
    ...numbers, ...bands, ...frontier(line, axis, bottom)];
}

function termRuns(line) { // [first revision, last, term] of each stretch; term 0: not told
  return line.memo("terms", "s", () => {
    const runs = [];
    for (const { main, term } of Store.changes(line)) {
      const last = runs[runs.length - 1], next = last ? last[1] + 1 : 2;
      if (main < next) continue;
      if (main > next) runs.push([next, main - 1, 0]);
      if (last && last[2] === term && main === next) last[1] = main;
      else runs.push([main, main, term]);
    }
    return runs;
  });
}

function frontier(line, axis, bottom) {
  const at = Store.compacted(line);
  if (!at) return [];
  const x = axis.edge(at), told = `compacted at ${at}`, near = axis.cut && axis.edge(axis.cut) < x + wide(told) + 30,
    right = !near && x + wide(told) + 8 < axis.width, hidden = near && x - wide(told) < axis.gutter; // the frontier that is dragged covers it
  return [h("path", { d: `M${x},${AXIS_HIGH} V${bottom + 14}`, class: "kv-frontier", "data-kv-compacted": at }),
    !hidden && h("text", { x: x + (right ? 4 : -4) * (axis.handle && !near ? 3 : 1), y: bottom + 13, "text-anchor": right ? "start" : "end", class: "kv-tiny kv-at-frontier" }, told)];
}

// Marks: create (diamond), modify (disc), delete (a tombstone); an empty outline is a hole.

function markPath(kind, x, y, r) {
  const n = (v) => v.toFixed(1), w = r * 0.85, f = r * 1.22, d = r * 0.92;
  if (kind === "create") return `M${n(x)},${n(y - f)} L${n(x + f)},${n(y)} L${n(x)},${n(y + f)} L${n(x - f)},${n(y)} Z`;
  if (kind === "delete") {
    return `M${n(x - w)},${n(y + r)} V${n(y - r * 0.25)} A${n(w)},${n(w)} 0 0 1 ${n(x + w)},${n(y - r * 0.25)} V${n(y + r)} Z`;
  }
  return `M${n(x - +n(d))},${n(y)} a${n(d)},${n(d)} 0 1 0 ${n(2 * +n(d))},0 a${n(d)},${n(d)} 0 1 0 ${n(-2 * +n(d))},0 Z`;
}

function changeWords(change, hole) {
  const what = { create: `creates ${change.key}=${change.text}`, modify: `changes ${change.key}=${change.text} (version ${change.version})`,
    delete: `deletes ${change.key}` }[change.kind];
  return `revision ${change.main}.${change.sub}, term ${change.term}: ${what}${change.lease ? `, lease ${change.lease.toString(16)}` : ""}`
    + (hole ? "; removed by a compaction" : "");
}

function markOf(line, bench, change, x, y, r = 6.5, more = {}, looks = "") {
  const hole = Store.holes(line).has(change.number), told = changeWords(change, hole), s = r * 0.42;
  return h("g", asked(bench, ["key", change.key, change.main, change.sub], change.seq, { key: `m${change.number}`, class: `kv-mark ${hole ? "kv-hole" : ""} ${bench.lit === change.key ? "kv-lit" : ""} ${looks}`,
    style: bench.colours(change.term), "aria-label": told, "data-kv-revision": change.main, "data-kv-sub": change.sub, "data-kv-key": change.key,
    "data-kv-kind": change.kind, "data-kv-hole": hole || null, ...more }),
    h("title", {}, told), h("circle", { cx: x, cy: y, r: Math.max(9, r + 3), class: "kv-hit" }), h("path", { d: markPath(change.kind, x, y, r), class: "kv-shape" }),
    change.kind === "delete" && r >= 4.5 && h("path", { d: `M${x - s},${y - s} L${x + s},${y + s} M${x - s},${y + s} L${x + s},${y - s}`, class: "kv-shape-x" }));
}

function sampleMark(kind, x, y, told, hole) { // for legends
  return [h("path", { d: markPath(kind, x, y - 4, 5), class: `kv-sample ${hole ? "kv-hole" : ""}` }),
    h("text", { x: x + 11, y, class: "kv-tiny" }, told)];
}
