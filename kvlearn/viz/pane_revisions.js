// The store's history: a lane a key, revisions from left to right, a bar for each generation. A
// revision can be read as a get would read it, and the compaction frontier can be dragged.

const LANE = 38, MOST_LANES = 14, REFUSED = "required revision has been compacted", UNBORN = "required revision is a future revision";

PANES.revisions = {
  title: "Revisions",
  needs: ["s", "lit"],
  version: (bench) => `${bench.until} ${bench.readAt} ${bench.cutAt} ${Boolean(bench.hands)}`,
  of: (line) => `revision ${Store.revision(line)}${Store.compacted(line) ? `, compacted at ${Store.compacted(line)}` : ""}`,

  draw(line, bench, width) {
    const all = [...Store.lanes(line)];
    if (!all.length) return [h("p", { class: "kv-empty" }, nothingWritten(line))];
    const axis = axisOf(line, bench, width, GUTTER, Math.round(Math.min(150, width * 0.2))), lanes = shownLanes(all, bench.lit, axis.last);
    const bottom = AXIS_HIGH + LANE * lanes.length + 4, hidden = all.length - lanes.length, cut = cutOf(line, bench);
    const doomed = new Set(cut ? vanishing(Store.there(line), cut).map((change) => change.number) : []);
    const y = (k) => AXIS_HIGH + 4 + LANE * (k + 0.5), legend = legendOf(line, bottom + 40, width), high = bottom + 32 + legend.rows * 16;
    Object.assign(axis, { handle: !bench.offline, tab: bench.readAt, cut: bench.cutAt });
    return [revisionTools(line, bench, axis, cut, doomed.size),
      h("svg", { viewBox: `0 0 ${width} ${high}`, width, height: high, role: "group", "aria-label": "Revisions of the store by key" },
        cut && h("rect", { x: axis.gutter, y: AXIS_HIGH, width: Math.max(0, axis.edge(cut) - axis.gutter), height: bottom - AXIS_HIGH, class: "kv-r-going" }),
        h("g", { "aria-hidden": true }, drawAxis(line, bench, axis, bottom), together(line, axis, lanes, y)),
        readLine(line, bench, axis, bottom), axisSlider(line, bench, axis),
        lanes.map(([key, changes], k) => revisionLane(line, bench, axis, key, changes, y(k), doomed)),
        hidden > 0 && h("text", { x: 2, y: bottom + 13, class: "kv-tiny" }, cutTo(`… ${plural(hidden, "key")} more`, axis.gutter - 14)),
        !bench.offline && cutHandle(line, bench, axis, bottom, cut, doomed.size), h("g", { "aria-hidden": true }, legend.signs))];
  },

  text(line, bench) {
    const at = bench.readAt, cut = cutOf(line, bench);
    const told = [this.of(line), `revisions: ${termRuns(line).map(([a, b, term]) => `${a}${a < b ? `…${b}` : ""} term ${term}`).join(", ")}`];
    for (const [key, changes] of Store.lanes(line)) {
      const early = Math.max(0, changes.length - 80);
      told.push(`${key}: ${early ? `… ${early} earlier, ` : ""}${generations(changes.slice(early)).map((life) => `{${life.map((c) => changeTold(line, c)).join(", ")}}`).join(" ")}`);
      if (at) told.push(`  get at ${at}: ${answerWords(answerAt(line, key, at))}`);
    }
    if (cut) told.push(`a compaction at ${cut} would remove: ${vanishing(Store.there(line), cut).map((c) => `${c.main}.${c.sub} ${c.key}`).join(", ") || "nothing"}`);
    return told.join("\n");
  },
};

Store.there = (line) => line.memo("there", "s", () => Store.changes(line).filter((change) => !Store.holes(line).has(change.number)));

function nothingWritten(line) {
  return Store.revision(line) < 2 ? "Nothing was written yet: revision 1 is the empty store."
    : `The run does not tell what was written up to revision ${Store.revision(line)}.`;
}

function changeTold(line, c) {
  return `${c.main}.${c.sub} ${c.kind}${c.kind === "delete" ? "" : ` =${c.text}`}${c.lease ? ` (lease ${c.lease.toString(16)})` : ""}${Store.holes(line).has(c.number) ? " (gone)" : ""}`;
}

// What a compaction at `revision` takes away of the changes that are there: of each key all up to
// there but the newest, and that too if it is a deletion.
function vanishing(changes, revision) {
  const newest = new Map(), old = changes.filter(({ main }) => main <= revision);
  for (const change of old) newest.set(change.key, change);
  return old.filter((change) => newest.get(change.key) !== change || change.kind === "delete");
}

// What a get of a key at a revision answers: a change, null (no such key), or why it is refused.
function answerAt(line, key, revision) {
  if (revision < Store.compacted(line)) return REFUSED;
  if (revision > Store.revision(line)) return UNBORN;
  const change = (Store.lanes(line).get(key) || []).filter(({ main }) => main <= revision).pop();
  return change && change.kind !== "delete" ? change : null;
}

function answerWords(answer) {
  if (answer === REFUSED || answer === UNBORN) return answer === REFUSED ? "compacted" : "future";
  return answer ? answer.text || "(empty)" : "absent";
}

function shownLanes(all, lit, last) { // the keys that changed last before the end of what is in sight, and the one that is lit
  if (all.length <= MOST_LANES) return all;
  const when = (changes) => changes.reduce((found, { main }) => (main <= last ? main : found), 0);
  const late = all.map(([key, changes]) => [key, key === lit ? Infinity : when(changes)]).sort(([, a], [, b]) => b - a);
  const shown = new Set(late.slice(0, MOST_LANES).map(([key]) => key));
  return all.filter(([key]) => shown.has(key));
}

function generations(changes) { // the lives of a key: its changes, cut behind each deletion
  const lives = [];
  for (const change of changes) {
    const last = lives[lives.length - 1];
    if (!last || change.kind === "create" || last[last.length - 1].kind === "delete") lives.push([]);
    lives[lives.length - 1].push(change);
  }
  return lives;
}

function revisionLane(line, bench, axis, key, changes, y, doomed) {
  const lit = bench.lit === key, light = () => bench.light(key), now = changes[changes.length - 1], at = bench.readAt;
  const answer = answerAt(line, key, at || Store.revision(line)), r = Math.max(3.4, Math.min(6.5, axis.step * 0.42));
  const shown = changes.filter(({ main }) => axis.shows(main)), room = axis.width - axis.end - 20;
  const mark = (c) => `${doomed.has(c.number) ? "kv-r-doomed" : ""} ${at && answer === c ? "kv-r-answers" : ""}`;
  return h("g", { key, class: `kv-lane-of ${lit ? "kv-lit" : ""} ${now.kind === "delete" ? "kv-r-dead" : ""}`, "data-kv-lane": key },
    h("g", { class: "kv-lane-name", tabindex: 0, role: "button", "aria-pressed": lit, "aria-label": `key ${key}: light it in all panes`,
      onclick: light, onkeydown: pressed(light) },
      h("rect", { x: 0, y: y - LANE / 2 + 5, width: axis.gutter - 12, height: LANE - 10, rx: 5, class: "kv-hit" }),
      h("text", { x: 4, y: y + 4, class: "kv-lane-word" }, h("title", {}, key), cutTo(key, axis.gutter - 18, 12))),
    h("path", { d: `M${axis.gutter - 6},${y} H${axis.end}`, class: "kv-r-line" }), generations(changes).map((life) => lifeBars(line, axis, life, y)),
    valuesOf(line, axis, shown, y - r * 1.22 - 4.5, now), shown.filter(({ lease }) => lease).map((c) => clockOf(axis.x(c.main), y + r + 5.5, Math.min(4, r))),
    shown.map((c) => markOf(line, bench, c, axis.x(c.main), y, r, {}, mark(c))),
    h("text", { x: axis.end + 14, y: y + 4, class: `kv-r-value ${answer && answer.number !== undefined ? "" : "kv-r-none"}`, "data-kv-answer": key },
      h("title", {}, `get ${key}${at ? ` at ${at}` : ""}: ${answerWords(answer)}`), cutTo(answerWords(answer), room, 12)));
}

function lifeBars(line, axis, life, y) { // full where records are left, an outline where they are gone
  const end = life[life.length - 1], over = end.kind === "delete";
  if (life[0].main > axis.last || (over && end.main < axis.first)) return null;
  const left = Math.max(axis.x(life[0].main), axis.gutter), right = over && end.main <= axis.last ? axis.x(end.main) : axis.end + 4;
  const there = life.find((change) => !Store.holes(line).has(change.number)), full = there ? Math.max(left, Math.min(right, axis.x(there.main))) : right;
  const bar = (from, to, name) => to > from && h("rect", { x: from, y: y - 4.5, width: to - from, height: 9, rx: 3, class: name, "data-kv-generation": life[0].main });
  return [bar(left, full, "kv-r-gone"), there && bar(full, right, "kv-r-life")];
}

function valuesOf(line, axis, shown, y, now) { // above their marks, the newest first, where there is room
  const told = [];
  let free = axis.end + 12;
  for (let k = shown.length - 1; k >= 0; k--) {
    const c = shown[k], before = k ? axis.x(shown[k - 1].main) + 7 : axis.gutter;
    if (c.kind === "delete") continue;
    const place = (text) => {
      const half = wide(text) / 2, x = Math.max(axis.gutter + half, Math.min(axis.x(c.main), axis.end + 10 - half));
      return [text, x, half];
    };
    let [text, x, half] = place(cutTo(c.text || "(empty)", 140));
    if (x - half < before || x + half > free - 4) [text, x, half] = place(cutTo(text, Math.max(axis.step * 1.5, 30)));
    if (x + half > free - 4 || (text.length < 3 && text.endsWith("…"))) continue;
    free = x - half;
    told.push(h("text", { key: `v${c.number}`, x, y, "text-anchor": "middle", class: c === now ? "kv-r-word" : "kv-tiny" }, text));
  }
  return told;
}

function clockOf(x, y, r) { // a pair that hangs on a lease
  return h("path", { d: `M${x - r},${y} a${r},${r} 0 1 0 ${2 * r},0 a${r},${r} 0 1 0 ${-2 * r},0 M${x},${y - r * 0.6} V${y} H${x + r * 0.5}`, class: "kv-r-clock", "aria-hidden": true });
}

function together(line, axis, lanes, y) { // a line through all marks of one revision
  const columns = new Map();
  lanes.forEach(([, changes], k) => {
    for (const { main } of changes) if (axis.shows(main)) columns.set(main, [columns.has(main) ? columns.get(main)[0] : y(k), y(k)]);
  });
  return [...columns].filter(([, [a, b]]) => b > a).map(([main, [a, b]]) => h("path", { d: `M${axis.x(main)},${a} V${b}`, class: "kv-r-together" }));
}

function legendOf(line, y, width) {
  const kinds = ["create", "modify", "delete", "hole: removed by a compaction", "one line: one revision", ...(Store.changes(line).some((c) => c.lease) ? ["lease"] : [])];
  let x = 12, rows = 1;
  const signs = kinds.map((told) => {
    if (x > 12 && x + wide(told) + 16 > width) [x, rows] = [12, rows + 1];
    const at = [x, y + (rows - 1) * 16], [kind, hole] = told.startsWith("hole") ? ["modify", true] : [told, false];
    x += wide(told) + 34;
    if (/^(create|modify|delete)$/.test(kind)) return sampleMark(kind, ...at, told, hole);
    return [told === "lease" ? clockOf(at[0], at[1] - 4, 4.5) : h("path", { d: `M${at[0]},${at[1] - 10} v12`, class: "kv-r-together" }),
      h("text", { x: at[0] + 11, y: at[1], class: "kv-tiny" }, told)];
  });
  return { rows, signs };
}

// Reading the past ----------------------------------------------------------------------------------

function seeStore(bench, more) { // until: the last revision in sight; readAt: the one that is read; cutAt: a compaction that is thought of
  Object.assign(bench, more);
  bench.player.dirty = true;
}

function pageBy(bench, axis, by) { // older or newer revisions come into sight
  const count = axis.last - axis.first + 1, last = Math.max(count + 1, axis.last + by * Math.max(1, count - 2));
  seeStore(bench, { until: last >= axis.newest ? null : last });
}

function readAt(bench, axis, revision) {
  const count = axis.last - axis.first + 1, seen = revision && !axis.shows(revision);
  seeStore(bench, { readAt: revision, ...(seen ? { until: revision < axis.first ? revision + count - 1 : revision } : {}) });
}

function keyed(moves) { // keys that a handle answers to; nobody else hears them
  return (event) => {
    if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
  };
}

function pointAt(event) { return event.clientX - event.currentTarget.ownerSVGElement.getBoundingClientRect().left; }

function axisSlider(line, bench, axis) { // click: read there; drag: look further back
  const newest = Math.max(1, Store.revision(line)), at = bench.readAt, go = (to) => () => readAt(bench, axis, Math.max(1, Math.min(newest, to)));
  const from = at || newest, told = at ? `reading at revision ${at}${at < Store.compacted(line) ? ": refused, compacted" : ""}` : "reading the newest revision";
  return h("g", { key: "axis", class: "kv-r-axis", role: "slider", tabindex: 0, "aria-label": "Read at revision; Escape: the newest", "aria-valuemin": 1, "aria-valuemax": newest,
    "aria-valuenow": Math.min(from, newest), "aria-valuetext": told, "data-kv-action": "read", "data-kv-target": at || "",
    onkeydown: keyed({ ArrowLeft: go(from - 1), ArrowDown: go(from - 1), ArrowRight: go(from + 1), ArrowUp: go(from + 1), PageDown: go(from - 10), PageUp: go(from + 10),
      Home: go(1), End: go(newest), Escape: () => readAt(bench, axis, null) }),
    onpointerdown: (event) => {
      event.currentTarget.setPointerCapture(event.pointerId);
      bench.axisDrag = { x: event.clientX, last: axis.last, moved: false };
    },
    onpointermove: (event) => {
      const drag = bench.axisDrag, by = drag ? event.clientX - drag.x : 0;
      if (!drag || !(axis.folded || axis.later) || (!drag.moved && Math.abs(by) < 5)) return;
      const last = Math.max(axis.last - axis.first + 2, drag.last - Math.round(by / axis.step));
      drag.moved = true;
      seeStore(bench, { until: last >= axis.newest ? null : last });
    },
    onpointerup: (event) => {
      const drag = bench.axisDrag, px = pointAt(event);
      bench.axisDrag = null;
      if (!drag || drag.moved) return;
      if (px < axis.start && axis.folded) pageBy(bench, axis, -1);
      else readAt(bench, axis, axis.at(px) === at ? null : axis.at(px));
    },
    onpointercancel: () => (bench.axisDrag = null) },
    h("rect", { x: axis.gutter - 4, y: 1, width: axis.end - axis.gutter + 8, height: AXIS_HIGH - 3, rx: 4, class: "kv-hit" }));
}

function readLine(line, bench, axis, bottom) {
  const at = bench.readAt, x = axis.end + 14, refused = at && at < Store.compacted(line);
  if (!at) return h("text", { x, y: 13, class: "kv-tiny" }, "now");
  return h("g", { key: "read", class: refused ? "kv-r-refused" : "", "data-kv-read": at }, h("text", { x, y: 13, class: "kv-r-word kv-r-at" }, `at ${at}`),
    axis.shows(at) && [h("path", { d: `M${axis.x(at)},${AXIS_HIGH - 2} V${bottom}`, class: "kv-r-read" }),
      h("rect", { x: axis.x(at) - wide(at) / 2 - 5, y: 1, width: wide(at) + 10, height: 16, rx: 4, class: "kv-r-tab" }),
      h("text", { x: axis.x(at), y: 13, "text-anchor": "middle", class: "kv-r-tabbed" }, at)]);
}

// The compaction frontier ---------------------------------------------------------------------------

function cutOf(line, bench) { // the revision of the compaction that is thought of, if it can be
  const at = bench.cutAt;
  return !bench.offline && at && at > Store.compacted(line) && at <= Store.revision(line) ? at : null;
}

function compactAt(bench, revision, event) {
  const pane = event.currentTarget.closest(".kv-pane"), handle = pane && pane.querySelector(".kv-r-handle");
  seeStore(bench, { cutAt: null });
  if (revision && bench.hands) bench.hands.run("compact", { revision });
  if (handle) handle.focus({ preventScroll: true });
}

function cutWords(line, cut, count) { return `${count} of ${plural(Store.there(line).length, "record")} would go`; }

function cutHandle(line, bench, axis, bottom, cut, count) {
  const low = Store.compacted(line), high = Store.revision(line), at = cut || low, x = axis.edge(Math.max(2, at)), y = bottom + 1;
  const move = (to) => seeStore(bench, { cutAt: to <= low || to < 2 ? null : Math.min(high, to) }), go = (to) => () => move(to), next = Math.max(at, 1);
  const told = cut ? `compact at ${cut}: ${cutWords(line, cut, count)}; Enter does it` : low ? `compacted at ${low}` : "not compacted";
  const keys = keyed({ ArrowLeft: go(next - 1), ArrowDown: go(next - 1), ArrowRight: go(next + 1), ArrowUp: go(next + 1), PageDown: go(next - 10), PageUp: go(next + 10),
    Home: go(low), End: go(high), Escape: go(0) });
  return h("g", { key: "handle", class: "kv-r-handle", role: "slider", tabindex: 0, "aria-label": "Compaction frontier: drag it to see what a compaction would remove", "aria-valuemin": low,
    "aria-valuemax": high, "aria-valuenow": at, "aria-valuetext": told, "data-kv-action": "frontier", "data-kv-target": at,
    onkeydown: (event) => (event.key === "Enter" || event.key === " " ? pressed(() => cut && compactAt(bench, cut, event))(event) : keys(event)),
    onpointerdown: (event) => {
      event.currentTarget.setPointerCapture(event.pointerId);
      bench.cutDrag = event.clientX;
    },
    onpointermove: (event) => {
      if (bench.cutDrag === null || bench.cutDrag === undefined || Math.abs(event.clientX - bench.cutDrag) < 3) return;
      move(Math.round((pointAt(event) - axis.start) / axis.step) + axis.first);
    },
    onpointerup: () => (bench.cutDrag = null), onpointercancel: () => (bench.cutDrag = null) },
    h("title", {}, told), cut && h("path", { d: `M${x},${AXIS_HIGH} V${y}`, class: "kv-r-cut" }),
    h("path", { d: `M${x},${y} l8,5 v10 h-16 v-10 Z M${x - 2.5},${y + 6.5} v6 m5,-6 v6`, class: "kv-r-tag" }), h("rect", { x: x - 13, y: y - 4, width: 26, height: 23, class: "kv-hit" }),
    !at && h("text", { x: x + 14, y: y + 12, class: "kv-tiny" }, "drag: what would a compaction remove?"));
}

function revisionTools(line, bench, axis, cut, count) {
  const at = bench.readAt, button = (action, told, act, more = {}) => h("button", { key: action, type: "button", "data-kv-action": action, onclick: act, ...more }, told);
  const folds = axis.folded || axis.later, refused = at && answerAt(line, "", at);
  return h("div", { key: "tools", class: "kv-row-of kv-r-tools" },
    folds > 0 && h("span", { key: "window", class: "kv-zoom", role: "group", "aria-label": "Revisions in sight" },
      button("older", "◂ older", () => pageBy(bench, axis, -1), { disabled: !axis.folded }), button("newer", "newer ▸", () => pageBy(bench, axis, 1), { disabled: !axis.later }),
      h("span", {}, `${axis.first} to ${axis.last} of ${axis.newest}`)),
    cut ? h("span", { key: "cut", class: "kv-r-ask", role: "group", "aria-label": `A compaction at ${cut}` }, h("b", {}, cutWords(line, cut, count)),
      button("compact", `compact at ${cut}`, (event) => compactAt(bench, cut, event), { "data-kv-target": cut }), button("cancel", "✕", (event) => compactAt(bench, null, event), { "aria-label": "Do not compact" }))
      : at ? h("span", { key: "read", class: "kv-r-ask" }, h("span", { class: refused ? "kv-bad" : "" }, refused ? `get at ${at}: ${refused}` : `get at ${at} answers what stands at the right`),
        button("present", "now", () => readAt(bench, axis, null), { "aria-label": "Read the newest revision" }))
        : h("span", { key: "hint", class: "kv-hint" }, "A click on a revision's number reads the store as it was."));
}
