// The store's two trees: left the blue one, the key index, with etcd's own notation of generations;
// right the grey one, the B+tree of the backend with its pages, leaves face to face with the index.
// One key is unfolded: each of its revisions leads to the leaf cell with the record.

const T_ROW = 17, T_TOP = 38, T_KEYS = 16, T_MANY = 24, T_OPEN = 6, T_UNFOLDED = 14, T_BRANCH = 46;

PANES.trees = {
  title: "Two trees",
  needs: ["s", "page", "lit"],
  version: (bench) => `${bench.until} ${bench.readAt}`,
  of: (line) => `revision ${Store.revision(line)}${Store.compacted(line) ? `, compacted at ${Store.compacted(line)}` : ""}, pages of 4 records`,

  draw(line, bench, width) {
    if (!Store.changes(line).length) return [h("p", { class: "kv-empty" }, nothingWritten(line))];
    const lit = litKey(line, bench), index = keyIndex(line), tree = greyTree(line), depth = depthOf(tree);
    const place = treePlaces(width, depth), wanted = new Set((index.get(lit) || []).flat().slice(-T_UNFOLDED).map((c) => c.number));
    const left = drawIndex(line, bench, index, lit, place), leaves = drawLeaves(line, bench, tree, lit, wanted, place);
    const branches = drawBranches(tree, leaves, place), notes = treeNotes(line, tree), bottom = Math.max(left.bottom, leaves.bottom) + 6;
    const right = Math.max(width, place.wide), rows = notes.flatMap((note) => wrapWords(note, right - 8)), high = bottom + 16 * rows.length + 6;
    const head = (x, what, more, name) => [h("text", { x, y: 14, class: `kv-lane-word ${name}` }, what), h("text", { x, y: 28, class: "kv-tiny" }, more)];
    return [h("svg", { viewBox: `0 0 ${right} ${high}`, width: right, height: high, role: "group", "aria-label": `Key index and B+tree; ${lit} is unfolded` },
      h("g", { "aria-hidden": true }, head(2, "key index", cutTo("key → revisions", place.index), "kv-i-blue"), head(place.leaf, "B+tree", depth > 1 ? "revision → record: leaves" : "one leaf, the root", "kv-i-grey"),
        depth > 1 && h("text", { x: place.leaf + place.cell + place.step - T_BRANCH / 2, y: 28, "text-anchor": "middle", class: "kv-tiny" }, depth > 2 ? "branches" : "root"), leads(left.rows, leaves.cells), branches),
      left.parts, leaves.parts, rows.map((row, k) => h("text", { x: 2, y: bottom + 14 + 16 * k, class: "kv-tiny" }, row)))];
  },

  text(line, bench) {
    if (!Store.changes(line).length) return nothingWritten(line);
    const told = [`Key index at revision ${Store.revision(line)} (lit: ${litKey(line, bench)}):`];
    for (const [key, lives] of keyIndex(line)) told.push(`  ${key}: ${lives.map(lifeWords).join(" ")}`);
    told.push("B+tree of pages of 4, from the root down:");
    let level = [greyTree(line)];
    for (; level[0].children; level = level.flatMap((page) => page.children)) told.push(`  ${level.map((page) => page.keys.join(" ")).join(" | ")}`);
    for (const page of level) told.push(`  leaf: ${cellsOf(page).map(([c, hole]) => `${c.main}.${c.sub} ${hole ? "gone" : recordWords(c)}`).join(", ") || "empty"}`);
    return told.join("\n");
  },
};

// What the state says of the trees -------------------------------------------------------------------

function keyIndex(line) { // key -> its generations, each a list of changes; after a deletion an empty one stands at the end
  return line.memo("index", "s", () => {
    const index = new Map([...Store.lanes(line)].map(([key]) => [key, null]));
    for (const change of Store.there(line)) {
      const lives = index.get(change.key) || [[]];
      lives[lives.length - 1].push(change);
      if (change.kind === "delete") lives.push([]);
      index.set(change.key, lives);
    }
    return new Map([...index].filter(([, lives]) => lives));
  });
}

function lifeWords(life) { return `{${life.map((c) => `${c.main}.${c.sub}${c.kind === "delete" ? "(t)" : ""}`).join(" ")}}`; }

function litKey(line, bench) {
  const index = keyIndex(line), there = Store.there(line);
  return bench.lit && Store.lanes(line).has(bench.lit) ? bench.lit : index.size ? there[there.length - 1].key : Store.changes(line)[Store.changes(line).length - 1].key;
}

function greyTree(line) { // the pages that hang together at the root
  return line.memo("grey", "page s", () => {
    const known = line.leaves || new Map(), kept = (line.leaves = new Map()); // most leaves are as they were
    const page = (number) => {
      const given = line.state[`page.${number}`], [children, keys, gone] = given;
      if (children) return { number, keys, children: children.map(page) };
      let leaf = known.get(number);
      if (!leaf || leaf.given !== given) leaf = { given, number, records: keys.map((n) => Store.change(line, n)), gone: gone.map((n) => Store.change(line, n)) };
      kept.set(number, leaf);
      return leaf;
    };
    return page(line.state["s.root"]);
  });
}

function gather(page, leaves = [], stands = []) { // the leaves below a page, and the numbers of all pages there
  for (const child of page.children || []) gather(child, leaves, stands);
  if (!page.children) leaves.push(page);
  stands.push(page.number);
  return { leaves, stands };
}

function depthOf(page) { return page.children ? 1 + depthOf(page.children[0]) : 1; }
function recordWords(c) { return c.kind === "delete" ? `${c.key} deleted` : `${c.key}=${c.text}`; }
function cellsOf(page) { // in order, holes among them
  return [...page.records.map((c) => [c, false]), ...page.gone.map((c) => [c, true])].sort(([a], [b]) => a.main - b.main || a.sub - b.sub);
}

function treeNotes(line, tree) {
  const outlined = new Set(), { leaves } = gather(tree);
  for (const page of leaves) for (const change of page.gone) outlined.add(change.number);
  const rest = [...Store.holes(line)].filter((number) => !outlined.has(number)).length;
  return [leaves.length > T_MANY && "Parts that the key does not lead to are folded up.", outlined.size && "An outline: a compaction removed it, and its page was not written again.",
    rest && `${rest} ${outlined.size ? "more " : ""}removed ${rest === 1 ? "record has" : "records have"} left no trace in the pages.`].filter(Boolean);
}

function wrapWords(text, room) { // into lines
  const rows = [""];
  for (const word of text.split(" ")) {
    if (wide(`${rows[rows.length - 1]} ${word}`) > room) rows.push("");
    rows[rows.length - 1] = `${rows[rows.length - 1]} ${word}`.trim();
  }
  return rows;
}

function treePlaces(width, depth) { // what is scarce is shared: the index, the way between, the leaves, the branches
  const levels = depth - 1, step = width < 560 || (width < 800 && levels > 2) ? 62 : 82, rest = width - 8 - levels * step, gap = Math.max(34, Math.min(90, width * 0.09));
  const index = Math.max(128, Math.min(300, (rest - gap) * 0.54)), cell = Math.max(122, Math.min(300, rest - gap - index));
  const leaf = 2 + index + gap;
  return { index, leaf, cell, step, wide: leaf + cell + levels * step + 6 };
}

// The blue tree ---------------------------------------------------------------------------------------

function drawIndex(line, bench, index, lit, place) {
  const all = [...index.keys()], last = (key) => (key === lit ? Infinity : index.get(key).reduce((newest, life) => (life.length ? life[life.length - 1].main : newest), 0));
  const shown = new Set([...all].sort((a, b) => last(b) - last(a)).slice(0, T_KEYS).concat(lit)), rows = [], parts = [];
  let y = T_TOP;
  for (const key of [...shown].sort((a, b) => (a < b ? -1 : 1))) {
    const light = () => bench.light(key), lives = index.get(key) || [], told = `${key}: ${lives.map(lifeWords).join(" ") || "compacted away"}`, mine = key === lit;
    const open = mine && lives.length ? unfolded(line, bench, lives, y + 21, place, rows) : null, high = open ? open.high + 24 : 24;
    parts.push(h("g", { key: `i${key}`, class: `kv-i-leaf ${mine ? "kv-i-lit" : ""}`, "data-kv-key": key },
      h("g", { class: "kv-lane-name", tabindex: 0, role: "button", "aria-pressed": bench.lit === key, "aria-label": `key ${told}`, onclick: light, onkeydown: pressed(light) },
        h("title", {}, told), h("rect", { x: 2, y, width: place.index, height: high, rx: 4, class: "kv-i-box" }), h("rect", { x: 2, y, width: place.index, height: 24, rx: 4, class: "kv-hit" }),
        h("text", { x: 9, y: y + 16, class: "kv-lane-word" }, cutTo(key, open ? place.index - 16 : place.index * 0.42, 12)),
        !lives.length && h("text", { x: place.index - 4, y: y + 16, "text-anchor": "end", class: "kv-tiny" }, "not in the index"),
        !mine && h("text", { x: place.index - 4, y: y + 16, "text-anchor": "end", class: "kv-mono" }, tailOf(lives.map(lifeWords).join(" "), place.index * 0.94 - Math.min(place.index * 0.42, wide(key, 12)) - 18))),
      open && open.parts));
    y += high + 5;
  }
  if (all.length > shown.size) parts.push(h("text", { x: 4, y: y + 10, class: "kv-tiny" }, `… ${plural(all.length - shown.size, "key")} more`));
  return { parts, rows, bottom: y + (all.length > shown.size ? 14 : 0) };
}

function tailOf(told, room) { // the end of a list: the newest counts most
  const most = Math.floor(room / 6.7);
  if (told.length <= most) return told;
  const cut = told.slice(told.length - Math.max(0, most - 2)), at = cut.indexOf(" ");
  return at < 0 ? "…" : `…${cut.slice(at)}`;
}

function unfolded(line, bench, lives, top, place, rows) {
  let hidden = Math.max(0, lives.flat().length - T_UNFOLDED), y = top;
  const parts = lives.map((life, number) => {
    const shown = life.slice(Math.min(hidden, life.length)), high = T_ROW * Math.max(1, shown.length) + 4, at = y;
    hidden = Math.max(0, hidden - life.length);
    if (life.length && !shown.length) return null;
    y += high + 4;
    const over = life.length && life[life.length - 1].kind === "delete", side = place.index - 76;
    const told = !life.length ? ["empty: waits for a put"] : [`${side < 90 ? "from" : "created at"} ${createdAt(line, life[0])}`, over ? (side < 90 ? "deleted" : "ended by a deletion") : "lives"];
    return h("g", { key: `g${number}`, "data-kv-generation": lifeWords(life) }, h("rect", { x: 8, y: at, width: place.index - 12, height: high, rx: 4, class: `kv-i-life ${life.length ? "" : "kv-i-none"}` }),
      told.slice(0, Math.max(1, shown.length)).map((words, k) => h("text", { x: 14, y: at + 14 + T_ROW * k, class: "kv-tiny" }, cutTo(words, life.length ? side - 10 : place.index - 24))),
      shown.map((change, k) => {
        const row = at + 2 + T_ROW * k;
        rows.push([change.number, place.index - 8, row + T_ROW / 2]);
        return h("g", { ...asked(bench, ["key", change.key, change.main, change.sub], change.seq, { class: answersNow(line, bench, change) ? "kv-r-answers" : "", "aria-label": `revision ${changeWords(change, false).slice(9)}`, "data-kv-lookup": `${change.main}.${change.sub}` }), key: change.number },
          h("rect", { x: side + 4, y: row + 1, width: 64, height: T_ROW - 2, rx: 7, class: "kv-i-chip kv-hit" }),
          h("text", { x: side + 36, y: row + 12.5, "text-anchor": "middle", class: "kv-mono" }, `${change.main}.${change.sub}${change.kind === "delete" ? "(t)" : ""}`));
      }));
  });
  return { parts, high: y - top };
}

function createdAt(line, change) { // the put that created it may be gone, its revision is known
  const lane = Store.lanes(line).get(change.key), born = lane.slice(0, lane.indexOf(change) + 1).filter((c) => c.kind === "create").pop();
  return born ? born.main : "?";
}

function answersNow(line, bench, change) { return bench.readAt && answerAt(line, change.key, bench.readAt) === change; }

function leads(rows, cells) { // from each revision of the key to the cell with its record
  return rows.filter(([number]) => cells.has(number)).map(([number, x, y]) => h("path", { key: `l${number}`, d: treeCurve([x, y], cells.get(number)), class: "kv-i-lead" }));
}

function treeCurve([ax, ay], [bx, by], lead = "M") {
  const middle = (ax + bx) / 2;
  return `${lead}${ax},${ay} C${middle},${ay} ${middle},${by} ${bx},${by}`;
}

// The grey tree ---------------------------------------------------------------------------------------

function stripsOf(tree, wanted, until) { // what is drawn as one box: a leaf, or a part of the tree that nothing leads to
  const { leaves } = gather(tree), many = leaves.length > T_MANY, opened = new Map(), seen = leaves.filter((page) => page.records.length && page.records[0].main <= until);
  const latest = new Set(seen.slice(-T_OPEN)), whole = (page) => latest.has(page) || page.records.some((c) => wanted.has(c.number));
  const isOpen = (page) => {
    if (!opened.has(page)) opened.set(page, page.children ? page.children.filter(isOpen).length > 0 : whole(page));
    return opened.get(page);
  };
  const visit = (siblings) => {
    const strips = [];
    let joins = false;
    for (const page of siblings) {
      const opens = isOpen(page);
      if (page.children && (opens || !many)) strips.push(...visit(page.children));
      else if (many && !opens && joins) gather(page, strips[strips.length - 1].leaves, strips[strips.length - 1].stands);
      else strips.push({ ...gather(page), whole: opens || !many });
      joins = many && !opens;
    }
    return strips;
  };
  return visit([tree]);
}

function drawLeaves(line, bench, tree, lit, wanted, place) {
  const cells = new Map(), pages = new Map(), parts = [], { leaf: x, cell: wideness } = place;
  let y = T_TOP;
  for (const strip of stripsOf(tree, wanted, bench.until || Infinity)) {
    const rows = strip.whole ? cellsOf(strip.leaves[0]) : [], high = T_ROW * Math.max(1, rows.length) + 8, top = y;
    const box = (by) => h("rect", { x: x + by, y: top + by, width: wideness, height: high, rx: 4, class: "kv-i-page" });
    parts.push(h("g", { key: `p${strip.stands[0]}`, "data-kv-page": strip.leaves.slice(0, 9).map((page) => page.number).join(" ") }, strip.leaves.length > 1 && box(3), box(0),
      !rows.length && h("text", { x: x + 8, y: top + 16, class: "kv-tiny" }, cutTo(strip.whole ? "empty" : foldWords(strip.leaves), wideness - 14)),
      rows.map(([change, hole], k) => leafCell(line, bench, change, hole, lit, x + 4, top + 4 + T_ROW * k, wideness - 8))));
    rows.forEach(([change, hole], k) => hole || cells.set(change.number, [x + 4, top + 4 + T_ROW * (k + 0.5)]));
    for (const number of strip.stands) pages.set(number, [x + wideness, top + high / 2]);
    y += high + 9;
  }
  return { parts, cells, pages, bottom: y };
}

function foldWords(leaves) {
  const there = leaves.filter((page) => page.records.length), sum = (of) => leaves.reduce((all, page) => all + page[of].length, 0), gone = sum("gone"), count = sum("records");
  const name = (c) => `${c.main}.${c.sub}`, last = there.length ? there[there.length - 1].records : [];
  if (!count) return `empty${gone ? `, ${gone} gone` : ""}`;
  return `${name(there[0].records[0])}${count > 1 ? ` … ${name(last[last.length - 1])}` : ""} · ${leaves.length > 1 ? `${leaves.length} pages` : plural(count, "record")}${gone ? `, ${gone} gone` : ""}`;
}

function leafCell(line, bench, change, hole, lit, x, y, wideness) {
  const mine = !hole && change.key === lit, at = `${change.main}.${change.sub}${!hole && change.kind === "delete" ? "(t)" : ""}`, told = changeWords(change, hole), split = Math.max(Math.min(62, wideness * 0.42), at.length * 6.7 + 10);
  return h("g", asked(bench, ["key", change.key, change.main, change.sub], change.seq, { key: `c${change.number}`, "aria-label": told, "data-kv-revision": change.main, "data-kv-sub": change.sub, "data-kv-hole": hole || null,
    class: `kv-i-cell ${mine ? "kv-i-mine" : ""} ${hole ? "kv-i-hole" : ""} ${mine && answersNow(line, bench, change) ? "kv-r-answers" : ""}` }), h("title", {}, told),
    h("rect", { x, y: y + 1, width: wideness, height: T_ROW - 2, rx: 2, class: "kv-i-record" }), h("rect", { x, y: y + 1, width: wideness, height: T_ROW - 2, class: "kv-hit" }),
    h("text", { x: x + 5, y: y + 12.5, class: "kv-mono" }, at), h("text", { x: x + split, y: y + 12.5, class: "kv-i-word" }, hole ? "gone" : cutTo(recordWords(change), wideness - split - 8)));
}

function drawBranches(tree, leaves, place) { // the levels above the leaves, each a column, the root on the right
  const levels = [[tree]], lines = [], parts = [], { pages } = leaves;
  while (levels[0][0].children) levels.unshift(levels[0].flatMap((page) => page.children));
  levels.slice(1).forEach((level, number) => {
    const left = place.leaf + place.cell + place.step * (number + 1) - T_BRANCH;
    let bottom = T_TOP - 6;
    for (const page of level) {
      if (pages.has(page.number)) continue; // it is folded up
      const ends = page.children.map((child) => pages.get(child.number)), high = T_ROW * page.keys.length + 8;
      const top = Math.max((ends[0][1] + ends[ends.length - 1][1]) / 2 - high / 2, bottom + 6), edge = left - (place.step - T_BRANCH);
      ends.forEach((end, k) => lines.push(h("path", { d: `M${end[0]},${end[1]} ${treeCurve([Math.max(end[0], edge), end[1]], [left, top + 4 + T_ROW * k], "L")}`, class: "kv-i-way" })));
      parts.push(h("g", { key: `b${page.number}`, "data-kv-page": page.number }, h("rect", { x: left, y: top, width: T_BRANCH, height: high, rx: 4, class: "kv-i-page" }),
        page.keys.map((key, k) => h("text", { x: left + T_BRANCH / 2, y: top + 4 + T_ROW * k + 12.5, "text-anchor": "middle", class: "kv-mono" }, key))));
      pages.set(page.number, [left + T_BRANCH, top + high / 2]);
      bottom = top + high;
      leaves.bottom = Math.max(leaves.bottom, bottom);
    }
  });
  return [...lines, ...parts];
}
