// The store's history: a lane a key, revisions from left to right, a bar for each generation.

const LANE = 30, MOST_LANES = 14;

PANES.revisions = {
  title: "Revisions",
  needs: ["s", "lit"],
  version: (bench) => bench.until,
  of: (line) => `revision ${Store.revision(line)}${Store.compacted(line) ? `, compacted at ${Store.compacted(line)}` : ""}`,

  draw(line, bench, width) {
    const all = [...Store.lanes(line)];
    if (!all.length) return [h("p", { class: "kv-empty" }, "Nothing was written yet: revision 1 is the empty store.")];
    const lanes = shownLanes(all, bench.lit), axis = axisOf(line, bench, width);
    const bottom = AXIS_HIGH + LANE * lanes.length + (all.length > lanes.length ? 16 : 0), high = bottom + 40;
    return [h("svg", { viewBox: `0 0 ${width} ${high}`, width, height: high, role: "group", "aria-label": "Revisions of the store by key" },
      h("g", { "aria-hidden": true }, drawAxis(line, bench, axis, bottom)),
      lanes.map(([key, changes], k) => revisionLane(line, bench, axis, key, changes, AXIS_HIGH + LANE * (k + 0.5))),
      all.length > lanes.length && h("text", { x: 2, y: bottom - 2, class: "kv-tiny" }, `… ${plural(all.length - lanes.length, "key")} more; click a key elsewhere to see it here`),
      h("g", { "aria-hidden": true }, sampleMark("create", 12, high - 6, "create"), sampleMark("modify", 76, high - 6, "modify"),
        sampleMark("delete", 146, high - 6, "delete"), sampleMark("modify", 212, high - 6, "removed by a compaction: a hole", true)))];
  },

  text(line) {
    const told = [`revision ${Store.revision(line)}${Store.compacted(line) ? `, compacted at ${Store.compacted(line)}` : ""}`];
    for (const [key, changes] of Store.lanes(line)) {
      told.push(`${key}: ${changes.map((c) => `${c.main}.${c.sub} ${c.kind}${c.kind === "delete" ? "" : ` ${c.text}`}${Store.holes(line).has(c.number) ? " (hole)" : ""}`).join(", ")}`);
    }
    return told.join("\n");
  },
};

function shownLanes(all, lit) { // the keys that changed last, and the one that is lit
  if (all.length <= MOST_LANES) return all;
  const newest = [...all].sort(([a, x], [b, y]) => (b === lit) - (a === lit) || y[y.length - 1].main - x[x.length - 1].main);
  const shown = new Set(newest.slice(0, MOST_LANES).map(([key]) => key));
  return all.filter(([key]) => shown.has(key));
}

function generations(changes) { // [first, last or null] of each life of a key
  const lives = [];
  for (const change of changes) {
    if (change.kind === "create") lives.push([change, null]);
    else if (!lives.length || lives[lives.length - 1][1]) lives.push([change, null]);
    if (change.kind === "delete") lives[lives.length - 1][1] = change;
  }
  return lives;
}

function revisionLane(line, bench, axis, key, changes, y) {
  const lit = bench.lit === key, light = () => bench.light(key);
  const bars = generations(changes).map(([first, last]) => {
    const from = axis.x(first.main), to = last ? axis.x(last.main) : axis.edge(axis.last + 1) + 8;
    if (to < axis.gutter) return null;
    return h("path", { d: `M${from},${y} H${to}`, class: `kv-life ${last ? "" : "kv-alive"}` });
  });
  return h("g", { key, class: `kv-lane-of ${lit ? "kv-lit" : ""}`, "data-kv-lane": key },
    h("g", { class: "kv-lane-name", tabindex: 0, role: "button", "aria-pressed": lit, "aria-label": `key ${key}: light it in all panes`,
      onclick: light, onkeydown: pressed(light) },
      h("rect", { x: 0, y: y - LANE / 2 + 3, width: axis.gutter - 12, height: LANE - 6, rx: 5, class: "kv-hit" }),
      h("text", { x: 4, y: y + 4, class: "kv-lane-word" }, h("title", {}, key), cutTo(key, axis.gutter - 18, 12))),
    bars, changes.filter(({ main }) => axis.shows(main)).map((change) => markOf(line, bench, change, axis.x(change.main), y, Math.min(6.5, axis.step * 0.45))));
}
