// Space-time: a vertical life line a node, time downwards, messages as slanted arrows. What happens
// stands on a sheet that moves past the cursor; it is drawn anew only when that has come a quarter of
// the window further, or at a record, and then from the rows around the cursor alone.

const ZOOMS = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].map((ms) => ms * 1000);
const MOST_ARROWS = 180, MOST_MARKS = 90, HEAD_HIGH = 38, TIME_WIDE = 62;
const PAST = 0.72; // of a window lies before the cursor
const near = (v) => Math.round(v * 10) / 10;
const spanText = (us) => (us < 1e6 ? `${us / 1e3} ms` : `${us / 1e6} s`);

// The window of virtual time that a pane shows: `part` of it lies before the cursor.
const Sheet = {
  of(bench, name) {
    const sheets = bench.sheets || (bench.sheets = {});
    return sheets[name] || (sheets[name] = { name, chosen: null, span: 0, said: new Set() });
  },

  span(bench, sheet, nth) { // chosen by hand, or so that there is something to see where the cursor is
    const { line } = bench;
    if (sheet.chosen !== null) return (sheet.span = ZOOMS[sheet.chosen]);
    const key = `${line.place} ${line.rows.length}`;
    if (sheet.key !== key) {
      sheet.key = key;
      const before = line.us - nth(line, -1), after = 1.15 * (nth(line, 1) - line.us), whole = !(before >= 0 || after >= 0);
      const at = ZOOMS.findIndex((span) => before <= PAST * span || after <= span - Math.min(PAST * span, line.us - line.firstUs()));
      const fit = whole ? 2 : at < 0 ? ZOOMS.length - 1 : at;
      if (!sheet.span || Math.abs(fit - ZOOMS.indexOf(sheet.span)) > 1) sheet.span = ZOOMS[fit];
    }
    return sheet.span;
  },

  version(bench, name, nth) {
    const { line } = bench, span = Sheet.span(bench, Sheet.of(bench, name), nth);
    return `${span} ${Math.floor((line.us * 4) / span)} ${line.rows.length} ${line.lastSeq()} ${line.epoch}`;
  },

  lay(bench, name, nth, length) {
    const sheet = Sheet.of(bench, name), span = Sheet.span(bench, sheet, nth), { us } = bench.line;
    const first = Math.floor((us * 4) / span) * span / 4, base = Math.floor(us / span) * span, k = length / span;
    return Object.assign(sheet, { base, k, length, from: first - PAST * span, to: first + 1.25 * span,
      at: (t) => near((t - base) * k) });
  },

  edge: ({ line }, { k, length }) => Math.min(PAST * length, Math.max(0, line.us - line.firstUs()) * k), // where the cursor is

  move(bench, sheet, body, down) { // the sheet, and what stands at the cursor; drawn anew before an edge comes into sight
    const { us } = bench.line, [moves, ...more] = body.querySelectorAll(".kv-sheet");
    if (!moves) return;
    if (us - PAST * sheet.span < sheet.from || us + sheet.span > sheet.to + 1) bench.player.dirty = true;
    const edge = Sheet.edge(bench, sheet), way = (v) => (down ? `translate(0,${v.toFixed(2)})` : `translate(${v.toFixed(2)},0)`);
    for (const one of [moves, ...more]) set(one, "transform", way(edge - (us - sheet.base) * sheet.k));
    for (const mark of body.querySelectorAll(".kv-at-now")) set(mark, "transform", way(edge));
    say(body.querySelector(".kv-now-word"), (us / 1e6).toFixed(4).slice(0, 7)); // more has no room
    if (sheet.focused && document.activeElement === document.body) { // the mark with the focus has gone out of sight
      (body.querySelector('.kv-walk[tabindex="0"]') || bench.root).focus({ preventScroll: true });
    }
    sheet.focused = moves.contains(document.activeElement);
  },

  ticks(sheet) {
    const step = sheet.span / 5, ticks = [];
    for (let t = Math.max(0, Math.ceil(sheet.from / step) * step); t <= sheet.to; t += step) ticks.push(t);
    return ticks.map((t) => [t, (t / 1e6).toFixed(step < 1e4 ? 3 : step < 1e5 ? 2 : 1)]);
  },

  tools(bench, sheet) {
    const at = ZOOMS.indexOf(sheet.span), { name } = sheet;
    const tool = (action, sign, label, to, more) => h("button",
      { key: action, type: "button", "data-kv-action": action, "data-kv-target": name,
      "aria-label": label, title: label, onclick: () => { sheet.chosen = to; sheet.key = ""; bench.player.dirty = true; },
        ...more }, sign);
    return h("div", { class: "kv-zoom", role: "group", "aria-label": "Time in sight" },
      tool("zoom-out", "−", "Show more time", Math.min(ZOOMS.length - 1, at + 1), { disabled: at === ZOOMS.length - 1 }),
      tool("zoom-in", "+", "Show less time", Math.max(0, at - 1), { disabled: at === 0 }),
      tool("zoom-fit", "fit", "Show as much time as fits what happens", null, { "aria-pressed": sheet.chosen === null }),
      h("span", {}, `${spanText(sheet.span)} in sight`));
  },

  // Of all marks one is reached by Tab; the arrows up and down, or Home and End, go on to the others.
  walk(event) {
    const marks = [...event.currentTarget.querySelectorAll(".kv-walk")], at = marks.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
    if (to === undefined || at < 0 || !marks[to]) return;
    event.preventDefault();
    event.stopPropagation();
    marks[to].focus({ preventScroll: true });
  },
};

function nthPacket(line, way) { // when the 20th message before, the 10th after the cursor was sent
  let left = way < 0 ? 20 : 10, found = NaN;
  for (let k = way < 0 ? line.place - 1 : line.place, n = 0; left && n < 400 && line.rows[k]; k += way, n++) {
    if (!line.rows[k].packet) continue;
    found = line.rows[k].us;
    left--;
  }
  return found;
}

// Boxes that labels must leave free
class Places {
  constructor() { this.boxes = []; }
  free([a, b, c, d]) { return !this.boxes.some(([p, q, r, s]) => a < r && p < c && b < s && q < d); }
  take(box) { this.boxes.push(box); }
}

PANES.spacetime = {
  title: "Space-time",
  needs: ["row", "node"],
  version: (bench) => Sheet.version(bench, "spacetime", nthPacket),

  draw(line, bench, width) {
    const names = line.nodes();
    if (!names.length) return [h("p", { class: "kv-empty" }, "No node has started yet.")];
    const high = Math.round(Math.max(300, Math.min(520, width * 0.62))), column = (width - TIME_WIDE - 8) / names.length;
    const sheet = Sheet.lay(bench, "spacetime", nthPacket, high - HEAD_HIGH);
    const x = new Map(names.map((name, k) => [name, near(TIME_WIDE + column * (k + 0.5))]));
    const page = { line, bench, sheet, x, column, width, names, places: new Places(), said: new Set() };
    const { first, last } = rowsOf(line, sheet.from, sheet.to), { arrows, left } = arrowsOf(page, first, last);
    const marks = decisions(line, first, last).map((row) => markOfRow(page, row)).filter(Boolean);
    const away = (one) => (sentUs(one) > line.us ? 1e9 : 0) + Math.abs(sentUs(one) - line.us); // Tab leads to what happened last
    page.stop = [...arrows, ...marks].reduce((best, one) => (!best || away(one) < away(best) ? one : best), null);
    const lives = lifeLines(page, first, last), shapes = [...marks.map((mark) => drawMark(page, mark))],
      ways = arrows.map((arrow) => drawArrow(page, arrow));
    const labels = spaceLabels(page, arrows, marks);
    const scrub = (event) => bench.player.scrub(line.us + (event.offsetY - HEAD_HIGH - Sheet.edge(bench, sheet)) / sheet.k);
    const told = left ? `${plural(left, "message")} not drawn: zoom in` : sheet.span > 1e6 ? "zoom in to see each message" : "";
    return [h("div", { key: "tools", class: "kv-row-of" }, Sheet.tools(bench, sheet), h("span", { class: "kv-hint" }, told)),
      h("svg", { key: "all", viewBox: `0 0 ${width} ${high}`, width, height: high, role: "group",
        "aria-label": "Messages between the nodes over time" },
        names.map((name) => lifeHead(page, name)),
        h("svg", { key: "sheet", y: HEAD_HIGH, width, height: sheet.length, class: "kv-window" },
          h("rect", { width, height: sheet.length, class: "kv-hit kv-past-of", onclick: scrub }),
          h("g", { key: "moves", class: `kv-sheet ${arrows.length > 70 ? "kv-many" : ""}`, onkeydown: Sheet.walk },
            h("g", { key: "ticks", "aria-hidden": true }, Sheet.ticks(sheet).map(([t, word]) => [
              h("path", { key: `l${t}`, d: `M${TIME_WIDE - 14},${sheet.at(t)} H${width}`, class: "kv-grid" }),
              h("text", { key: `t${t}`, x: TIME_WIDE - 18, y: sheet.at(t) + 4, "text-anchor": "end", class: "kv-tiny" }, word)])),
            h("g", { key: "lives", "aria-hidden": true }, lives), h("g", { key: "ways" }, ways), h("g", { key: "marks" }, shapes),
            h("g", { key: "labels", "aria-hidden": true }, labels)),
          h("rect", { key: "veil", width, height: sheet.length, class: "kv-veil kv-at-now" })),
        h("g", { key: "now", class: "kv-at-now" }, h("path", { d: `M${TIME_WIDE - 8},${HEAD_HIGH} H${width}`, class: "kv-now" }),
          h("rect", { x: 0, y: HEAD_HIGH - 16, width: TIME_WIDE - 14, height: 32, class: "kv-now-room" }), // no other time beside it
          h("rect", { x: 1, y: HEAD_HIGH - 9, width: TIME_WIDE - 9, height: 18, rx: 4, class: "kv-now-box" }),
          h("text", { x: (TIME_WIDE - 8) / 2, y: HEAD_HIGH + 4, "text-anchor": "middle", class: "kv-tiny kv-now-word" })))];
  },

  time(line, bench, body) { Sheet.move(bench, Sheet.of(bench, "spacetime"), body, true); },

  text(line, bench) {
    const sheet = Sheet.of(bench, "spacetime"), span = Sheet.span(bench, sheet, nthPacket);
    const { first } = rowsOf(line, line.us - PAST * span, line.us), rows = line.rows.slice(first, line.place);
    const told = rows.filter((row) => !(row.packet && row.packet[4].startsWith("beat"))), most = told.slice(-60);
    const ways = rows.filter((row) => row.packet).length,
      lost = rows.filter((row) => row.ended.length && row.text && !row.merged).length;
    return [`${spanText(Math.round(PAST * span))} up to ${seconds(line.us)}: ${plural(ways, "message")} sent, ${lost} lost`,
      ...line.nodes().map((name) => `${name}: ${line.get(name, "role")}, term ${line.get(name, "term")}`),
      told.length > most.length ? `… ${told.length - most.length} earlier` : "",
      ...most.map((row) => `${(row.us / 1e6).toFixed(4)} s  ${line.text(row)}`)].filter(Boolean).join("\n");
  },
};

const sentUs = (one) => (one.row || one).us;

function rowsOf(line, from, to) { // places of the rows of a window
  return { first: line.firstAfter((row) => row.us >= from), last: line.firstAfter((row) => row.us > to) };
}

function lifeHead({ line, bench, x, column }, name) {
  const role = line.get(name, "role"), term = line.get(name, "term");
  const told = [`${role} t${term}`, role, ""].find((t) => wide(t, 10) < column - 4);
  return h("g", { key: `h${name}`, ...asked(bench, ["node", name], null, { "aria-label": `${name}, ${role}, term ${term}` }),
    style: bench.colours(term), "data-kv-life": name, "data-kv-role": role },
    h("rect", { x: x.get(name) - Math.min(40, column / 2 - 1), y: 1, width: Math.min(80, column - 2), height: HEAD_HIGH - 4,
      rx: 5, class: "kv-hit" }),
    h("text", { x: x.get(name), y: 15, "text-anchor": "middle", class: "kv-strong" }, name),
    h("text", { x: x.get(name), y: 29, "text-anchor": "middle", class: "kv-mini" }, told));
}

// Life lines: role and term from the patches of the window's rows, back and forth from the cursor

function lifeLines(page, first, last) {
  const { line, sheet, names } = page, now = new Map();
  for (const name of names) now.set(name, { role: line.get(name, "role"), term: line.get(name, "term") });
  const turn = (row, old) => { // who is something else before, after this row
    let who = null;
    for (const [key, a, b] of row.patches) {
      if (!(key.endsWith(".role") || key.endsWith(".term")) || !now.has(key.slice(0, -5))) continue;
      now.get((who = key.slice(0, -5)))[key.slice(-4)] = old ? a : b;
    }
    return who;
  };
  for (let k = line.place - 1; k >= first; k--) turn(line.rows[k], true);
  for (let k = line.place; k < first; k++) turn(line.rows[k], false);
  const open = new Map(names.map((name) => [name, { ...now.get(name), from: sheet.from }])), drawn = [];
  const close = (name, to) => {
    const life = open.get(name), is = now.get(name);
    if (to < sheet.to && life.role === is.role && life.term === is.term) return;
    if (life.role) drawn.push(lifeOf(page, name, life, to));
    open.set(name, { ...is, from: to });
  };
  for (let k = first; k < last; k++) {
    const name = turn(line.rows[k], false);
    if (name) close(name, line.rows[k].us);
  }
  names.forEach((name) => close(name, sheet.to));
  return drawn;
}

const LIFE_WIDE = { leader: 11, candidate: 9, outside: 3 };

function lifeOf({ bench, sheet, x }, name, { role, term, from }, to) {
  const mid = x.get(name), top = sheet.at(from), high = near(Math.max(0.5, sheet.at(to) - top)), broad = LIFE_WIDE[role] || 5;
  const key = `${name} ${from}`, look = { key, style: bench.colours(term), class: `kv-span kv-is-${role}` };
  if (role === "down" || role === "paused") return h("path", { ...look, d: `M${mid},${top} v${high}` });
  return h("g", look, h("rect", { x: mid - broad / 2, y: top, width: broad, height: high }),
    role === "leader" && h("path", { d: `M${mid - 8.5},${top} v${high} M${mid + 8.5},${top} v${high}` }));
}

// Messages: where they were sent, where they end

function arrowsOf({ line, x }, first, last) {
  const found = new Map(), from = line.rows[first] ? line.rows[first].us : Infinity;
  const take = (id, seq, old) => {
    const packet = line.packets.get(id);
    if (packet && x.has(packet.from) && x.has(packet.to) && !(old && packet.end < from)) found.set(id, { ...packet, seq });
  };
  for (const id of line.flying) if ((line.packets.get(id) || {}).us < from) take(id, null, true);
  for (let k = Math.max(0, first - 300); k < last; k++) {
    const row = line.rows[k];
    if (row.packet) take(row.packet[0], row.seq, k < first);
    else if (row.text && row.us <= line.us) { // what decided that it is lost
      for (const id of row.ended) if (found.has(id)) found.get(id).seq = row.seq;
    }
  }
  const all = [...found.values()], beat = (packet) => packet.kind.startsWith("beat");
  let arrows = all.length > MOST_ARROWS ? all.filter((packet) => !beat(packet) || packet.lost) : all;
  if (arrows.length > MOST_ARROWS) arrows = arrows.sort((a, b) => Math.abs(a.us - line.us) - Math.abs(b.us - line.us)).slice(0,
    MOST_ARROWS);
  return { left: all.length - arrows.length,
    arrows: arrows.sort((a, b) => a.us - b.us || a.id - b.id).map((packet) => Object.assign(packet, { beat: beat(packet) })) };
}

function drawArrow({ line, bench, sheet, x, column, stop }, arrow) {
  const { id, from, to, us, fate, kind, label } = arrow, lost = arrow.lost || (fate && arrow.end === undefined),
    known = arrow.end !== undefined;
  const ends = known ? arrow.end : Math.max(us, line.state[`p${id}`] ?? arrow.arrives ?? line.us);
  const side = x.get(to) > x.get(from) ? 1 : -1, ax = x.get(from) + 7 * side, far = x.get(to) - 8 * side;
  const part = lost && fate ? 1 - (0.4 * column) / Math.abs(far - ax) : 1; // it never gets there: a cross before the goal
  const [ay, by, bx] = [sheet.at(us), near(sheet.at(us) + (sheet.at(ends) - sheet.at(us)) * part), near(ax + (far - ax) * part)];
  Object.assign(arrow, { ax, ay, bx, by, dead: lost });
  const angle = Math.atan2(by - ay, bx - ax), [c, s] = [Math.cos(angle), Math.sin(angle)];
  const way = `M${ax},${ay} L${near(bx - (lost ? 0 : 6 * c))},${near(by - (lost ? 0 : 6 * s))}`;
  const end = ends <= line.us ? (lost ? `lost at ${seconds(ends)}` : `received at ${seconds(ends)}`) : lost
    ? "on its way, will be lost" : "on its way";
  const told = `${from} → ${to} ${label}, sent at ${seconds(us)}, ${us > line.us ? "later than the cursor" : end}`;
  const head = `M${bx},${by} l${near(-9 * c + 3.8 * s)},${near(-9 * s - 3.8 * c)} L${near(bx - 9 * c - 3.8 * s)},${near(by - 9 * s + 3.8 * c)} Z`;
  return h("g", asked(bench, ["packet", id], arrow.seq, { key: `p${id}`, tabindex: stop === arrow ? 0 : -1,
    class: `kv-way kv-walk ${arrow.beat ? (lost ? "kv-thin" : "kv-routine") : ""} ${kind.startsWith("pre") ? "kv-pre" : ""} ${kind === "snapshot" ? "kv-broad" : ""} ${lost ? "kv-gone" : ""}`,
    style: bench.colours(arrow.term), "aria-label": told, "data-kv-way": id, "data-kv-from": from, "data-kv-to": to,
      "data-kv-fate": lost ? fate || "down" : null }),
    h("title", {}, told), h("path", { d: way, class: "kv-hit" }), h("path", { d: way, class: "kv-way-term" }),
      h("path", { d: way, class: "kv-way-line" }),
    lost && h("path", { d: `M${bx - 4},${by - 4} l8,8 m0,-8 l-8,8`, class: "kv-cross-of" }),
    !lost && h("path", { d: head, class: "kv-way-head" }));
}

// Decisions, on the life line of who decided

function decisions(line, first, last) { // of too many those that are news, and those next to the cursor
  const all = [], far = (row) => Math.abs(row.us - line.us) - (row.weight > 1 ? 1e9 : 0);
  for (let k = first; k < last; k++) if (line.rows[k].weight) all.push(line.rows[k]);
  return all.length > MOST_MARKS ? all.sort((a, b) => far(a) - far(b)).slice(0, MOST_MARKS).sort((a, b) => a.seq - b.seq) : all;
}

function markOfRow({ x }, row) {
  if (row.operation) {
    const [id, client, node, told, ok] = row.operation;
    const kind = ok === false ? "client kv-failed" : "client", word = ok === undefined ? `${client}: ${told}`
      : `${client} ← ${told.replace(/^etcdserver: /, "")}`;
    return x.has(node) ? { row, node, kind, word, id } : null;
  }
  if (row.patches.some(([key]) => key === "cuts")) return { row, node: null, kind: "network",
    word: row.text.replace(/^network: /, "") };
  const role = row.patches.find(([key, , to]) => key.endsWith(".role") && to), [name] = row.text.split(" ");
  const node = role ? role[0].slice(0, -5) : name;
  if (!x.has(node)) return null;
  const about = row.text.startsWith(`${node} `) ? row.text.slice(node.length + 1) : row.text;
  const is = role ? role[2] : / commits /.test(row.text) ? "commit" : "turn", back = role && role[1] === "down";
  const term = (about.match(/term (\d+)/) || [])[1], index = (about.match(/up to (\d+)@/) || about.match(/entry (\d+)/) || [])[1];
  const word = back ? "restarts" : is === "down" ? about.split(/[;:]/)[0] : role && is !== "paused"
    ? `${is}${term ? `, term ${term}` : ""}`
    : is === "commit" ? `commits ${index || ""}` : about.split(/[:;]| in term/)[0];
  return { row, node, kind: is, word };
}

function drawMark(page, mark) {
  const { line, bench, sheet, x, width, places } = page, { row, node, kind, word } = mark, y = sheet.at(row.us), mid = x.get(node);
  Object.assign(mark, { y, mid });
  const jump = () => bench.goto(row.seq), told = `${seconds(row.us)}: ${line.text(row)}`;
  const button = { key: `r${row.seq}`, tabindex: page.stop === mark ? 0 : -1, role: "button",
    class: `kv-decision kv-walk kv-dec-${kind}`, "aria-label": `${told}; jump there`,
    "data-kv-action": "goto", "data-kv-target": row.seq, onclick: jump, onkeydown: pressed(jump) };
  if (kind === "network") return h("g", button, h("title", {}, told),
    h("path", { d: `M${TIME_WIDE - 8},${y} H${width}`, class: "kv-hit" }), h("path", { d: `M${TIME_WIDE - 8},${y} H${width}` }));
  const [sx, shape] = { leader: [mid, `M-9,3 L-10,-7 L-4.5,-2 L0,-9 L4.5,-2 L10,-7 L9,3 Z`],
    down: [mid, "M-5,-5 L5,5 M5,-5 L-5,5"], paused: [mid, "M-3.5,-5 V6 M3.5,-5 V6"],
    commit: [mid - 13, "M-4.5,0 L0,-4.5 L4.5,0 L0,4.5 Z"] }[kind] || [mid + (kind.startsWith("client") ? -Math.min(22, 0.42 * page.column) : 0),
      kind.startsWith("client") ? "M-3,-3 H3 V3 H-3 Z" : "M-3.4,0 a3.4,3.4 0 1 0 6.8,0 a3.4,3.4 0 1 0 -6.8,0 Z"];
  places.take([sx - 6, y - 6, sx + 6, y + 6]);
  return h("g", { ...button, transform: `translate(${near(sx)},${y})` }, h("title", {}, told),
    h("circle", { r: 8, class: "kv-hit" }), h("path", { d: shape }));
}

// Words, where there is room: what was said before stays, so nothing flickers; decisions come first

function brief(text, room) { // what fits and still tells something, or nothing
  const short = [text, text.split(",")[0]].find((t) => wide(t, 10.5) <= room) || cutTo(text, room, 10.5);
  return short.endsWith("…") && short.length < 9 ? "" : short;
}

function spaceLabels(page, arrows, marks) {
  const { sheet, places, column, width, names, x } = page, wanted = [],
    rank = { leader: 0, down: 0, candidate: 1, commit: 3, turn: 4, client: 5 };
  for (const mark of marks) {
    const { y, mid, kind } = mark, left = kind === "commit" || kind.startsWith("client");
    if (kind === "network") wanted.push({ key: `r${mark.row.seq}`, rank: 0,
      text: cutTo(mark.word, width - TIME_WIDE - 10, 10.5), look: "kv-bad-word",
      tries: [[width - 4, y - 4, "end"], [width - 4, y + 12, "end"]] });
    else if (column > 44) {
      wanted.push({ key: `r${mark.row.seq}`, rank: rank[kind] ?? 2, text: brief(mark.word, column - 26),
        look: kind === "down" || kind.endsWith("failed") ? "kv-bad-word" : rank[kind] < 2 ? "kv-strong" : left ? "kv-dim-word" : "",
        tries: [0, -8, 9, 18].map((away) => (left ? [mid - (kind === "commit" ? 20 : 28), y + 4 + away, "end"] : [mid + 12,
          y + 4 + away, "start"])) });
    }
  }
  const across = (mid, y) => arrows.filter(({ ax, ay, bx, by }) => {
    const at = (mid - ax) / (bx - ax), way = ay + (by - ay) * at;
    return at > 0 && at < 1 && way > y - 9 && way < y + 3;
  }).length; // how many arrows run through a word there
  for (const arrow of arrows) {
    const { ax, ay, bx, by, id, beat, dead } = arrow;
    if (column < 56 || (beat && !dead) || Math.abs(bx - ax) < 40) continue;
    const text = brief(arrow.label, column - 26), low = Math.min(ax, bx), high = Math.max(ax, bx);
    const gaps = names.slice(1).map((name) => x.get(name) - column / 2).filter((mid) => low < mid && mid < high)
      .sort((a, b) => Math.abs(a - bx) - Math.abs(b - bx));
    wanted.push({ key: `p${id}`, rank: dead ? 2 : 6, text, look: dead ? "kv-bad-word" : "", tries: gaps.flatMap((mid) => {
      const y = ay + ((by - ay) * (mid - ax)) / (bx - ax);
      return [[mid, y - 4, "middle"], [mid, y + 11, "middle"]].filter(([, at]) => dead || across(mid, at) < 3);
    }) });
  }
  const said = sheet.said, order = wanted.sort((a, b) => said.has(b.key) - said.has(a.key) || a.rank - b.rank).slice(0, 160);
  const labels = order.map(({ key, text, look, tries }) => {
    const long = wide(text, 10.5);
    if (!text) return null;
    for (const [lx, ly, anchor] of tries) {
      const left = anchor === "end" ? lx - long : anchor === "middle" ? lx - long / 2 : lx,
        box = [left - 2, ly - 9, left + long + 2, ly + 3];
      if (left < TIME_WIDE - 10 || left + long > width || !places.free(box)) continue;
      places.take(box);
      page.said.add(key);
      return h("text", { key, x: near(lx), y: near(ly), "text-anchor": anchor, class: `kv-mini kv-halo ${look}` }, text);
    }
    return null;
  }).filter(Boolean);
  sheet.said = page.said;
  return labels;
}
