// Watches: a lane a watcher on the revision axis (streams.py is its twin). Told events are marks,
// those that its node has and it has not heard of are pale outlines ahead of its flag.

const WATCH_LANE = 46, MOST_WATCHES = 12, MOST_OVER = 3, STORE_LANE = 26;
const WATCH_SIGNS = { synced: "✓", behind: "…", waiting: "!", ended: "✕" };
const WATCH_KINDS = { behind: "not told yet", missed: "passed over: never told", pale: "its filter keeps it away",
  wrong: "it should not have been told so" };

PANES.watches = {
  title: "Watches",
  needs: ["s", "w", "lit"],
  version: (bench) => `${bench.until} ${bench.watchFrom} ${watchersAt(bench.line).length
    && watchedRevisions(bench.line)}`,
  of: (line) => watchesTold(watchersAt(line)),

  draw(line, bench, width) {
    const all = watchersAt(line), shown = shownWatches(all), axis = axisOf(line, bench, width);
    if (!all.length && !watchHandy(bench)) return [h("p", { class: "kv-empty" }, watchEmpty(bench))];
    const top = AXIS_HIGH + STORE_LANE, bottom = top + Math.max(24, WATCH_LANE * shown.length),
      rest = all.filter((w) => !shown.includes(w));
    const handle = watchHandy(bench) ? 26 : 0, under = bottom + 20 + handle + (rest.length ? 16 : 0);
    const [samples, high] = watchLegend(bench, shown, under, width);
    return [h("svg", { viewBox: `0 0 ${width} ${high}`, width, height: high, role: "group",
      "aria-label": "Watches on the revisions of the store" },
      h("g", { "aria-hidden": true }, drawAxis(line, bench, axis, bottom),
        h("text", { x: 4, y: AXIS_HIGH + 17, class: "kv-tiny" }, "the store")),
      storeMarks(line, bench, axis, AXIS_HIGH + 13),
      shown.map((w, k) => watchLane(line, bench, axis, w, top + WATCH_LANE * k)),
      handle && watchHandle(line, bench, axis, bottom + 18),
      !shown.length && h("text", { x: 4, y: top + 15, class: "kv-tiny kv-halo" }, cutTo(watchEmpty(bench), width)),
      rest.length && h("text", { x: 4, y: under - 4, class: "kv-tiny", "data-kv-folded": rest.length },
        `… folded: ${watchesTold(rest)}`), samples)];
  },

  text(line, bench) {
    const all = watchersAt(line);
    return all.length ? all.map((w) => watchWords(line, w)).join("\n") : watchEmpty(bench);
  },
};

const watchHandy = (bench) => !bench.offline && Store.revision(bench.line) > 1;
const watchEmpty = (bench) => `No watch yet: ${bench.offline ? "at this moment nobody watches anything."
  : `client.watch("a") begins one${watchHandy(bench) ? ", and so does the mark below" : ""}.`}`;
const watchedRevisions = (line) => line.nodes().map((name) => line.get(name, "revision")).join();
const watchOver = (w) => Boolean(w.end) || w.lost === "its client is gone";

function watchersAt(line) { // as far as each node is, which the store's state does not tell
  const known = line.memo("watchers", "s w", () => ({})), at = watchedRevisions(line);
  if (known.at !== at) Object.assign(known, { at, all: Store.watchers(line) });
  return known.all;
}

function shownWatches(all) { // all that go on, the newest if they are too many, and who ended last
  const shown = new Set(all.filter((w) => !watchOver(w)).slice(-MOST_WATCHES));
  const room = Math.min(MOST_OVER, MOST_WATCHES - shown.size);
  all.filter(watchOver).slice(room ? -room : all.length).forEach((w) => shown.add(w));
  return all.filter((w) => shown.has(w));
}

function watchesTold(all) {
  const counts = {};
  for (const w of all) counts[watchOver(w) ? "ended" : w.state] = (counts[watchOver(w) ? "ended" : w.state] || 0) + 1;
  const faults = all.filter((w) => w.missed.length || w.odd).length;
  return [...Object.entries(counts), ...(faults ? [["with a fault", faults]] : [])].map(([state, count]) =>
    `${count} ${state}`).join(", ");
}

function watchStanding(line, w) {
  const upto = Store.revision(line);
  const told = w.end ? (w.end.startsWith("refused") ? w.end : `ended: ${w.end}`) : watchOver(w) ? `ended: ${w.lost}`
    : w.lost ? `waiting: ${w.lost}` : w.behind.length ? `behind ${w.behind.length}` : w.first > upto + 1
      ? `synced: revision ${w.first} has yet to come` : "synced";
  return told + (w.missed.length ? `, ${w.missed.length} passed over` : "") + (w.odd
    ? `, wrong: ${w.odd.replace(/^after/, "an older event came after")}` : "");
}

function watchWords(line, w) {
  const named = (list) => list.slice(-30).map((c) =>
    `${c.main} ${c.kind === "delete" ? "delete" : "put"} ${c.key}`).join(", ");
  const told = [...w.told].slice(-30).map((number) => Store.change(line, number));
  const without = w.filters.length ? `, without ${w.filters.join(" and ")} events` : "";
  const most = w.told.size > 30 ? `${w.told.size} events, the last ones ` : "";
  return [`${w.name} watches ${w.what} from revision ${w.first}${without}`, `served by ${w.node}`,
    `told ${most}${named(told) || "nothing"}`, w.pale.length && `filtered: ${named(w.pale)}`,
    w.behind.length && !watchOver(w) && `behind: ${named(w.behind)}`,
    w.missed.length && `passed over: ${named(w.missed)}`,
    `position ${w.position}`, watchStanding(line, w)].filter(Boolean).join("; ");
}

// Drawing

function watchPile(axis, count, r) { // where marks of one revision stand; null: as one, with a number
  if (count > 3 || (count > 1 && axis.step < 20)) return null;
  const apart = Math.max(2.2, Math.min(1.3 * r, (axis.step - 2 * r - 6) / Math.max(1, count - 1)));
  return Array.from({ length: count }, (_, k) => apart * (k - (count - 1) / 2));
}

function storeMarks(line, bench, axis, y) { // what could be told of
  const r = Math.min(5, axis.step * 0.42), columns = new Map(), all = Store.changes(line);
  for (let k = all.length - 1; k >= 0 && all[k].main >= axis.first; k--) {
    if (axis.shows(all[k].main)) columns.set(all[k].main, [...(columns.get(all[k].main) || []), all[k]]);
  }
  return h("g", { key: "store" }, [...columns].map(([main, changes]) => {
    const spots = watchPile(axis, changes.length, r) || [0];
    return spots.map((spot, k) => markOf(line, bench, changes[k], axis.x(main) + spot, y, r));
  }));
}

function watchLane(line, bench, axis, w, top) {
  const over = watchOver(w), state = over ? "ended" : w.state, y = top + 17, room = axis.width - axis.gutter - 8;
  const start = axis.edge(Math.min(w.first, axis.last + 1)), here = Math.max(start, axis.edge(w.position + 1));
  const upto = over ? here : Math.max(here, axis.edge((line.get(w.node, "revision") || 0) + 1));
  const fault = w.missed.length || w.odd || (w.end && !/client/.test(w.end)) || (w.lost && !over);
  const tone = fault ? "kv-w-fault" : `kv-w-${state}`, standing = watchStanding(line, w), told = watchWords(line, w);
  const ask = (more) => asked(bench, ["watch", w.key], () => bench.deciding(w.key), more);
  const words = `${fault && !over ? "!" : WATCH_SIGNS[state]} ${standing}`;
  const more = [over ? "" : `${w.node} serves`, w.position < w.first ? "told nothing" : `told up to ${w.position}`,
    `from ${w.first}`, w.filters.length ? `no ${w.filters.join(", ")}s` : ""].filter(Boolean);
  const upTo = w.position < w.first ? `told nothing yet, from revision ${w.first} on`
    : `told all up to revision ${w.position}`;
  while (more.length && wide(`${words} · ${more.join(" · ")}`) > room) more.pop();
  return h("g", { key: w.key, class: `kv-w-lane ${tone}`, "data-kv-watch": w.name, "data-kv-state": w.state,
    "data-kv-position": w.position, "data-kv-node": w.node },
    h("g", ask({ class: "kv-w-name", "aria-label": told }), h("title", {}, told),
      h("rect", { x: 0, y: top + 3, width: axis.gutter - 12, height: WATCH_LANE - 10, rx: 5, class: "kv-hit" }),
      h("text", { x: 4, y: y - 1, class: "kv-w-who" }, cutTo(w.name, axis.gutter - 18, 12)),
        h("text", { x: 4, y: y + 14, class: "kv-tiny" }, cutTo(w.what, axis.gutter - 18))),
    here > start && h("path", { key: "told", d: `M${start},${y} H${here}`, class: "kv-w-track" }),
    upto > here && h("path", { key: "ahead", d: `M${here},${y} H${upto}`,
      class: `kv-w-ahead ${w.behind.length ? "" : "kv-w-quiet"}` }),
    w.first >= axis.first && h("path", { key: "post", d: `M${start},${y - 9} V${y + 9}`, class: "kv-w-post" }),
    watchColumns(line, bench, axis, w, y),
    h("g", ask({ key: "flag", class: "kv-w-flag", style: `transform:translate(${here.toFixed(1)}px,${y}px)`,
      "aria-label": `${w.name}: ${upTo}, ${standing}` }),
      h("title", {}, upTo), h("rect", { x: -4, y: -15, width: 14, height: 20, class: "kv-hit" }),
      h("path", over ? { d: "M-5,-5 L5,5 M-5,5 L5,-5", class: "kv-w-cross" }
        : { d: "M0,4 V-14 L9,-10.5 L0,-7", class: "kv-w-pole" })),
    h("text", { x: axis.gutter, y: y + 22, class: "kv-tiny" }, h("title", {}, told),
      h("tspan", { class: "kv-w-state" }, cutTo(words, room)), more.length ? ` · ${more.join(" · ")}` : ""));
}

function watchColumns(line, bench, axis, w, y) { // what each revision means to the watcher
  const columns = new Map(), table = line.tables.changes, seen = new Set();
  for (let k = w.sees.length - 1; k >= 0 && w.sees[k].main >= axis.first; k--) seen.add(w.sees[k].number);
  let earlier = 0, newest = 0;
  const put = (change, kind) => {
    if (change.main < axis.first) return void earlier++;
    if (axis.shows(change.main)) columns.set(change.main, [...(columns.get(change.main) || []), { change, kind }]);
  };
  for (const number of w.told) {
    const [main] = table[number] || [0], late = main < newest; // told out of order
    newest = Math.max(newest, main);
    if (main < axis.first) earlier++;
    else if (!late && seen.has(number) && !w.filters.includes((table[number] || [])[2] === "delete" ? "delete"
      : "put")) put(Store.change(line, number), "told");
    else put(Store.change(line, number), "wrong");
  }
  w.pale.forEach((c) => c.main >= axis.first && put(c, "pale"));
  if (!watchOver(w)) w.behind.forEach((c) => c.main >= axis.first && put(c, "behind"));
  w.missed.forEach((c) => put(c, "missed"));
  const r = Math.min(6.5, axis.step * 0.45), order = ["wrong", "missed", "told", "behind", "pale"];
  return h("g", { key: "events" }, earlier && axis.folded ? h("text", { x: axis.gutter + FOLD / 2 - 4, y: y - 5,
    class: "kv-tiny", "text-anchor": "end" }, `… ${earlier}`) : null,
    [...columns].map(([main, found]) => {
      found.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || b.change.sub - a.change.sub);
      const spots = watchPile(axis, found.length, r), x = axis.x(main);
      return spots ? spots.map((spot, k) => watchMark(bench, w, [found[k]], x + spot, y, r)).reverse()
        : [watchMark(bench, w, found, x, y, r), h("text", { key: `n${main}`, x, y: y - r - 2, class: "kv-tiny",
          "text-anchor": "middle" }, found.length)];
    }));
}

function watchMark(bench, w, found, x, y, r) {
  const [{ change, kind }] = found, s = r * (kind === "missed" ? 1.1 : 0.42), full = kind === "told"
    || kind === "wrong";
  const told = found.map((one) => changeWords(one.change, false) + (WATCH_KINDS[one.kind]
    ? `: ${WATCH_KINDS[one.kind]}` : "")).join(". ");
  const what = full ? ["key", change.key, change.main, change.sub] : ["watch", w.key];
  return h("g", asked(bench, what, change.seq, { key: `e${change.number}`,
    class: `kv-w-${kind} ${bench.lit === change.key ? "kv-lit" : ""}`, style: bench.colours(change.term),
    "aria-label": `${w.name}: ${told}`, "data-kv-watch": kind, "data-kv-revision": change.main,
      "data-kv-key": change.key, "data-kv-count": found.length > 1 ? found.length : null }),
    h("title", {}, told), h("circle", { cx: x, cy: y, r: Math.max(8, r + 3), class: "kv-hit" }),
    kind === "pale" ? h("circle", { cx: x, cy: y, r: 3.2, class: "kv-w-dot" })
      : h("path", { d: markPath(change.kind, x, y, r), class: full ? "kv-shape" : "kv-w-open" }),
    (kind === "missed" || (full && change.kind === "delete" && r >= 4.5)) && h("path",
      { d: `M${x - s},${y - s} L${x + s},${y + s} M${x - s},${y + s} L${x + s},${y - s}`, class: full ? "kv-shape-x"
      : "kv-w-cross" }),
    kind === "wrong" && h("circle", { cx: x, cy: y, r: r + 3.5, class: "kv-w-ring" }));
}

function watchHandle(line, bench, axis, y) { // a mark on the axis: watch from here
  const newest = Store.revision(line) + 1, from = Math.max(2, Math.min(newest, bench.watchFrom || newest)),
    gone = from <= Store.compacted(line);
  const told = from === newest ? "watch from now on" : `watch from ${from}${gone ? ": compacted" : ""}`,
    room = wide(told, 12) + 18, x = axis.edge(from);
  const left = Math.max(2, Math.min(x - 9, axis.width - room - 2)), open = () => bench.hands
    && bench.hands.openWatch(from);
  const move = (to) => {
    bench.watchFrom = to >= newest ? null : Math.max(2, to);
    bench.player.dirty = true;
  };
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10, Home: -newest,
    End: newest };
  const drag = (event) => {
    if (bench.watchDrag === undefined) return;
    const px = event.clientX - event.currentTarget.ownerSVGElement.getBoundingClientRect().left;
    if (Math.abs(event.clientX - bench.watchDrag) > 3) bench.watchMoved = true;
    if (bench.watchMoved) move(Math.round((px - axis.start) / axis.step) + axis.first);
  };
  return h("g", { key: "handle", class: `kv-w-handle ${gone ? "kv-w-gone" : ""}`, role: "slider", tabindex: 0,
    "aria-label": "Watch from revision; Enter opens it", "aria-valuemin": 2, "aria-valuemax": newest,
    "aria-valuenow": from, "aria-valuetext": told, "data-kv-action": "watch", "data-kv-target": from,
    onpointerdown: (event) => {
      event.currentTarget.setPointerCapture(event.pointerId);
      Object.assign(bench, { watchDrag: event.clientX, watchMoved: false });
    },
    onpointermove: drag, onpointercancel: () => delete bench.watchDrag,
    onpointerup: () => {
      if (bench.watchDrag !== undefined) open();
      delete bench.watchDrag;
    },
    onkeydown: (event) => {
      if (!by[event.key]) return pressed(open)(event);
      event.preventDefault();
      event.stopPropagation();
      move(from + by[event.key]);
    } },
    h("path", { d: `M${x},${AXIS_HIGH - 4} V${y}`, class: "kv-w-line" }),
      h("rect", { x: left, y, width: room, height: 20, rx: 5, class: "kv-hit kv-w-tag" }),
    h("text", { x: left + 9, y: y + 14, class: "kv-w-tag-word" }, told));
}

function watchLegend(bench, shown, y, width) { // as many a row as fit; the picture's height below them
  const disc = "M-5,0 a5,5 0 1 0 10,0 a5,5 0 1 0 -10,0", cross = "M-4.5,-4.5 L4.5,4.5 M-4.5,4.5 L4.5,-4.5";
  const items = [["told", [disc, "kv-shape"]], ["not told yet", [disc, "kv-w-open"]],
    ["filtered", ["M-3,0 a3,3 0 1 0 6,0 a3,3 0 1 0 -6,0", "kv-w-dot"]],
    ["told up to here", ["M-2,6 V-6 L6,-3.5 L-2,-1", "kv-w-pole"]], ["asked from here", ["M0,-6 V6", "kv-w-post"]],
      ["ended", [cross, "kv-w-cross kv-w-over"]],
    shown.some((w) => w.missed.length) && ["passed over: a fault", [disc, "kv-w-open"], [cross, "kv-w-cross"]],
    shown.some((w) => w.state === "synced") && ["nothing there was for it",
      ["M-8,0 H6", "kv-w-ahead kv-w-quiet"]]].filter(Boolean);
  let x = 10, row = y + 12;
  const drawn = items.map(([told, ...paths]) => {
    if (x > 10 && x + wide(told) + 14 > width) [x, row] = [10, row + 17];
    const at = x;
    x += wide(told) + 30;
    return [paths.map(([d, look]) => h("path", { d, transform: `translate(${at},${row - 4})`, class: look })),
      h("text", { x: at + 11, y: row, class: "kv-tiny" }, told)];
  });
  return [h("g", { key: "legend", "aria-hidden": true, style: bench.colours(1) }, drawn), row + 8];
}
