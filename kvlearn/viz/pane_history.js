// The clients' history: a lane a client (more where its operations overlap), a bar from what was
// asked to the answer, time from left to right.

const LANE_HIGH = 36, CLIENT_WIDE = [54, 130], MOST_CLIENT_LANES = 12;

function operationsOf(line) { // in the order in which they were asked, each with its lane
  const key = `${line.epoch} ${line.rows.length} ${line.lastSeq()} ${line.operations.size}`;
  if (line.asked && line.asked.key === key) return line.asked;
  const all = [...line.operations.values()].sort((a, b) => a.us - b.us || a.id - b.id), lanes = new Map(), reach = [];
  let far = -Infinity;
  for (const one of all) {
    const ends = lanes.get(one.client) || [];
    const free = ends.findIndex((end) => end <= one.us);
    one.lane = free < 0 ? ends.length : free;
    ends[one.lane] = one.end ?? Infinity;
    lanes.set(one.client, ends);
    reach.push((far = Math.max(far, one.end ?? -Infinity)));
  }
  const gutter = Math.min(CLIENT_WIDE[1], [...lanes.keys()].reduce((most, name) => Math.max(most, wide(name, 12.5) + 16), CLIENT_WIDE[0]));
  const known = [...lanes].flatMap(([client, ends]) => ends.map((_, k) => `${client} ${k}`));
  return (line.asked = { key, all, reach, gutter, known: known.length > MOST_CLIENT_LANES ? [] : known, open: all.filter((one) => one.end === undefined) });
}

function firstAsked(all, us) { // the place of the first that was asked later
  let low = 0, high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all[middle].us > us) high = middle; else low = middle + 1;
  }
  return low;
}

function nthOperation(line, way) {
  const { all } = operationsOf(line), at = firstAsked(all, line.us);
  const one = way < 0 ? all[Math.max(0, at - 4)] : all[Math.min(all.length - 1, at + 1)];
  return one && (way < 0 ? at > 0 : at < all.length) ? one.us : NaN;
}

function operationAt(line, one) { // as it is known at the cursor: its kind, the words
  const seq = line.row() ? line.row().seq : -1, done = one.end !== undefined && one.endSeq <= seq;
  const kind = one.us > line.us || one.seq > seq ? "later" : !done ? "waiting" : one.ok ? "answered" : one.unknown ? "unknown"
    : "refused";
  const error = (one.answer || "").replace(/^etcdserver: /, "");
  const answer = { answered: ` → ${one.answer}`, unknown: ` → unknown: ${error}`, refused: ` → refused: ${error}`,
    waiting: " → no answer yet", later: "" }[kind];
  return { kind, short: `${one.request}${answer}`,
    told: `${one.client} asks ${one.node}: ${one.request}${answer}, asked at ${seconds(one.us)}${done ? `, answered at ${seconds(one.end)}` : ""}` };
}

PANES.history = {
  title: "Client history",
  needs: ["row"],
  version: (bench) => Sheet.version(bench, "history", nthOperation),
  of: (line) => `${plural(firstAsked(operationsOf(line).all, line.us), "operation")} so far`,

  draw(line, bench, width) {
    const { all, reach, open, gutter, known } = operationsOf(line);
    if (!all.length) return [h("p", { class: "kv-empty" }, "No client has asked anything yet.")];
    const sheet = Sheet.lay(bench, "history", nthOperation, width - gutter), last = firstAsked(all, sheet.to);
    let first = firstAsked(all, sheet.from);
    while (first && reach[first - 1] >= sheet.from) first--;
    const seen = all.slice(first, last).filter((one) => one.end === undefined || one.end >= sheet.from);
    const shown = [...open.filter((one) => one.us <= sheet.to && !seen.includes(one)), ...seen].slice(-400);
    const lanes = [...new Set([...known, ...shown.map(({ client, lane }) => `${client} ${lane}`)])].sort(natural); // few stay where they are
    const drawn = lanes.slice(0, MOST_CLIENT_LANES), y = new Map(drawn.map((lane, k) => [lane, k * LANE_HIGH]));
    const bottom = Math.max(1, drawn.length) * LANE_HIGH + 4, high = bottom + 34;
    const drawable = shown.filter(({ client, lane }) => y.has(`${client} ${lane}`)),
      stop = drawable.findLast((one) => one.us <= line.us) || drawable[0];
    const page = { line, bench, sheet, y, stop, words: [], reach: new Map(),
      left: (line.us - sheet.base) * sheet.k - Sheet.edge(bench, sheet) },
      bars = [...drawable].reverse().map((one) => drawOperation(page, one)).reverse();
    const scrub = (event) => bench.player.scrub(line.us + (event.offsetX - gutter - Sheet.edge(bench, sheet)) / sheet.k);
    const told = lanes.length > drawn.length ? `${plural(lanes.length - drawn.length, "lane")} more not drawn` : shown.length
      ? "" : "nothing is asked in this time";
    return [h("div", { key: "tools", class: "kv-row-of" }, Sheet.tools(bench, sheet), h("span", { class: "kv-hint" }, told)),
      h("svg", { key: "all", viewBox: `0 0 ${width} ${high}`, width, height: high, role: "group",
        "aria-label": "What clients asked, and what they were told" },
        drawn.map((lane, k) => lane.split(" ")[0] !== (drawn[k - 1] || "").split(" ")[0]
          && h("text", { key: lane, x: 2, y: k * LANE_HIGH + 27, class: "kv-strong" },
            cutTo(lane.split(" ")[0], gutter - 6, 12))),
        h("svg", { key: "sheet", x: gutter, width: sheet.length, height: high, class: "kv-window" },
          h("rect", { width: sheet.length, height: high, class: "kv-hit kv-past-of", onclick: scrub }),
          drawn.map((_, k) => h("path", { d: `M0,${k * LANE_HIGH + 23} H${sheet.length}`, class: "kv-grid" })),
          h("g", { key: "moves", class: "kv-sheet", onkeydown: Sheet.walk },
            h("g", { key: "ticks", "aria-hidden": true }, Sheet.ticks(sheet).map(([t, word]) => [
              h("path", { key: `l${t}`, d: `M${sheet.at(t)},0 V${bottom}`, class: "kv-grid" }),
              h("text", { key: `t${t}`, x: sheet.at(t), y: bottom + 13, "text-anchor": t ? "middle" : "start",
                class: "kv-tiny" }, word)])),
            h("g", { key: "bars" }, bars)),
          h("rect", { key: "veil", width: sheet.length, height: bottom, class: "kv-veil kv-at-now" }),
          h("g", { key: "words", class: "kv-sheet", "aria-hidden": true }, page.words.reverse())), // the veil is over what comes later alone
        h("g", { key: "now", class: "kv-at-now" }, h("path", { d: `M${gutter},0 V${bottom}`, class: "kv-now" }),
          h("rect", { x: gutter - 32, y: bottom + 17, width: 64, height: 16, rx: 4, class: "kv-now-box" }),
          h("text", { x: gutter, y: bottom + 29, "text-anchor": "middle", class: "kv-tiny kv-now-word" })))];
  },

  time(line, bench, body) {
    const sheet = Sheet.of(bench, "history"), left = (line.us - sheet.base) * sheet.k - Sheet.edge(bench, sheet);
    Sheet.move(bench, sheet, body, false);
    for (const bar of body.querySelectorAll("[data-kv-open]")) set(bar, "d", openBar(sheet, +bar.dataset.kvOpen, line.us));
    for (const word of body.querySelectorAll("[data-kv-stick]")) set(word, "x", near(Math.max(+word.dataset.kvStick, left + 2)));
  },

  text(line) {
    const { all } = operationsOf(line), past = all.slice(0, firstAsked(all, line.us)), most = past.slice(-60);
    return [`${plural(past.length, "operation")} up to ${seconds(line.us)}`, past.length > most.length
      ? `… ${past.length - most.length} earlier` : "",
      ...most.map((one) => operationAt(line, one).told)].filter(Boolean).join("\n");
  },
};

function openBar(sheet, from, us) { // no right edge: it waits
  const x = sheet.at(Math.max(from, sheet.from));
  return `M${near(Math.max(x + 2, (us - sheet.base) * sheet.k))},-6 H${x} V6 H${near(Math.max(x + 2, (us - sheet.base) * sheet.k))}`;
}

function drawOperation({ line, bench, sheet, y, reach, left, stop, words }, one) {
  const lane = `${one.client} ${one.lane}`, top = y.get(lane) + 23, { kind, short, told } = operationAt(line, one);
  const from = Math.max(one.us, sheet.from), x = sheet.at(from),
    to = sheet.at(Math.min(sheet.to, one.end ?? (kind === "later" ? from : line.us)));
  const end = Math.max(x + 2.5, to), room = (reach.get(lane) ?? sheet.at(sheet.to)) - Math.max(x, left) - 10;
  reach.set(lane, x);
  const bar = kind === "waiting" ? { d: openBar(sheet, one.us, line.us), "data-kv-open": one.us }
    : { d: `M${x},-6 H${end} V6 H${x} Z` };
  const word = room > 42 && end > left && cutTo(kind === "later" ? one.request : short, room, 10.5);
  if (word) words.push(h("text", { key: `w${one.id}`, "data-kv-stick": x + 1, y: top - 10,
    class: `kv-mini kv-halo ${kind === "later" ? "kv-later" : kind === "refused" ? "kv-bad-word" : kind === "answered" ? "" : "kv-dim-word"}` }, word));
  return h("g", asked(bench, ["operation", one.id], (kind === "waiting" ? one.seq : one.endSeq ?? one.seq) ?? null,
    { key: `o${one.id}`, tabindex: one === stop ? 0 : -1,
    class: `kv-bar-of kv-walk kv-op-${kind}`, transform: `translate(0,${top})`, "aria-label": told,
      "data-kv-operation": one.id, "data-kv-client": one.client, "data-kv-outcome": kind }),
    h("title", {}, told), h("rect", { x: x - 2, y: -10, width: near(end - x + 4), height: 20, rx: 4, class: "kv-hit" }),
      h("path", { ...bar, class: "kv-bar-shape" }),
    kind === "refused" && h("path", { d: `M${near(end - 4)},-4 l8,8 m0,-8 l-8,8`, class: "kv-cross-of" }),
    kind === "unknown" && h("text", { x: near(end + 3), y: 4, class: "kv-strong" }, "?"));
}
