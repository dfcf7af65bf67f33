// Pictures as data: `h` says what there should be, `morph` makes it so with as few changes as can
// be, so nothing flickers and the focus stays. The panes (pane_*.js) are functions of the timeline.

function h(tag, attributes, ...children) {
  return { tag, attributes: attributes || {}, children: children.flat(9).filter((c) => c !== null && c !== undefined && c !== false && c !== "") };
}

function morph(parent, wanted) { // the children of `parent` become `wanted`; `key` tells who is who
  if (!wanted.length && !parent.kvChildren) return;
  const old = parent.kvChildren || new Map(), now = new Map(), counts = {};
  const nodes = wanted.map((child) => {
    const text = typeof child !== "object", tag = text ? "#text" : child.tag;
    const number = (counts[tag] = (counts[tag] || 0) + 1);
    const key = !text && child.attributes.key !== undefined ? `${tag} ${child.attributes.key}` : `${tag}#${number}`;
    const known = now.has(key) ? null : old.get(key), node = known || (text ? document.createTextNode("") : make(tag));
    now.set(key, node);
    return node;
  });
  for (const [key, node] of old) if (now.get(key) !== node) node.remove(); // first: who is moved loses the focus
  let place = parent.firstChild;
  wanted.forEach((child, k) => {
    const node = nodes[k];
    if (typeof child !== "object") {
      if (node.data !== String(child)) node.data = child;
    } else {
      dress(node, child.attributes);
      morph(node, child.children);
    }
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  });
  parent.kvChildren = now;
}

function dress(node, attributes) {
  const old = node.kvDress || {};
  for (const name in attributes) { // both are plain objects
    const given = attributes[name];
    if (name === "key" || old[name] === given) continue;
    if (name[0] === "o" && name[1] === "n") {
      if (!node.kvOn) node.kvOn = {};
      if (!node.kvOn[name]) node.addEventListener(name.slice(2), (event) => node.kvOn[name] && node.kvOn[name](event));
      node.kvOn[name] = given;
    } else if (name === "value") {
      if (node.value !== String(given)) node.value = given;
    } else if (given === null || given === undefined || (given === false && !name.startsWith("aria"))) node.removeAttribute(name);
    else node.setAttribute(name, given === true && !name.startsWith("aria") ? "" : given);
  }
  for (const name in old) {
    if (name in attributes) continue;
    if (name.startsWith("on")) node.kvOn[name] = null;
    else if (name !== "key") node.removeAttribute(name);
  }
  node.kvDress = attributes;
}

// The panes: name -> { title, needs, draw(line, bench) }, filled in by the pane_*.js files.
//   needs: what it is drawn from: groups of the state ("s" store, "w" watches, "l" leases, "page",
//   "node", "cuts"), "row" (the record at the cursor), "verdicts", "lit" (the key that is lit).
//   draw: its picture, as a list of h(); it is called when one of these changed.
//   time(line, bench, body): for what moves between two records; called for every frame, optional.
//   text(line, bench): the same facts in words, line by line; the picture's description.
const PANES = {};

// A sign that can be asked: click, Enter or Space open "Why?" (bench.why). `seq`: the record that
// decided it, or a function that finds it when it is asked.
function asked(bench, what, seq, attributes) {
  const known = () => (typeof seq === "function" ? seq() : seq);
  const ask = (event) => bench.why(what, known(), event.currentTarget);
  const leap = (event) => bench.asking.leap(what, known(), event.currentTarget); // to the record that decided it
  return { tabindex: 0, role: "button", "aria-haspopup": "dialog", onclick: ask, ondblclick: leap,
    onkeydown: (event) => pressed(() => (event.shiftKey ? leap : ask)(event))(event), ...attributes,
    class: `kv-ask-why ${attributes.class || ""}` };
}

function seconds(us) { return `${(us / 1e6).toFixed(3)} s`; }
function plural(count, word) { return `${count} ${word}${count === 1 ? "" : "s"}`; }
function cutTo(text, room, size = 11) { // what fits into so many pixels
  const most = Math.max(1, Math.floor(room / (size * 0.58)));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}
function wide(text, size = 11) { return String(text).length * size * 0.58; }

// The store at the cursor, made of the numbers in the state -----------------------------------------

const Store = {
  revision: (line) => line.state["s.revision"] || 1,
  compacted: (line) => line.state["s.compacted"] || 0,
  changes: (line) => line.memo("changes", "s", () => (line.state["s.changes"] || []).map((n) => Store.change(line, n))),
  holes: (line) => line.memo("holes", "s", () => new Set(line.state["s.holes"] || [])),
  change(line, number) {
    const row = line.tables.changes[number] || [0, 0, "modify", "…", "", 0, 0, 0, 0, -1];
    const [main, sub, kind, key, text, version, lease, term, index, seq] = row;
    row.told = row.told || { number, main, sub, kind, key, text, version, lease, term, index, seq }; // asked for often
    return row.told;
  },
  lanes: (line) => line.memo("lanes", "s", () => { // key -> its changes, keys in order
    const lanes = new Map();
    for (const change of Store.changes(line)) {
      if (!lanes.has(change.key)) lanes.set(change.key, []);
      lanes.get(change.key).push(change);
    }
    return new Map([...lanes].sort(([a], [b]) => (a < b ? -1 : 1)));
  }),
  fork(line) { // the transaction that was decided last, or null
    const number = line.state["s.fork"];
    return number === undefined || number === null ? null : Store.forkOf(line.tables.forks[number]);
  },
  forkOf(told) {
    if (!told) return null;
    const [succeeded, before, revision, error, index, term, seq, us, seen, more, then, otherwise] = told;
    return { succeeded, before, revision, error, index, term, seq, us, seen, more, then, otherwise };
  },
  watchers: (line) => Object.keys(line.state).filter((key) => /^w\.\d+$/.test(key) && line.state[key])
    .sort(natural).map((key) => {
      const [name, what, first, position, node, end, lost, us, filters, odd] = line.state[key];
      const sees = (line.state[`${key}.sees`] || []).map((n) => Store.change(line, n));
      const told = new Set(line.state[`${key}.told`] || []);
      const upto = line.get(node, "revision") || 0, swept = line.state["s.swept"] || [];
      const open = sees.filter((c) => c.main <= upto && !told.has(c.number));
      const filtered = (c) => filters.includes(c.kind === "delete" ? "delete" : "put");
      const pale = open.filter((c) => filtered(c) && (!end || c.main <= position));
      const behind = end ? [] : open.filter((c) => c.main > position && !filtered(c));
      const away = (c) => c.kind === "delete" && swept.includes(c.main) && Store.holes(line).has(c.number);
      const missed = open.filter((c) => c.main <= position && !filtered(c) && !away(c)); // away: swept at its own revision
      const state = end ? "ended" : lost ? "waiting" : behind.length ? "behind" : "synced";
      return { key, name, what, first, position, node, end, lost, us, filters, odd, sees, told, pale, behind, missed, state };
    }),
  leases: (line) => Object.keys(line.state).filter((key) => /^l\./.test(key) && line.state[key]).sort(natural).map((key) => {
    const [ttl, granted, start, left, rate, node, why, end, ended, revision, ranOut, keys, count] = line.state[key];
    return { key, id: key.slice(2), ttl, granted, start, left, rate, node, why, end, ended, revision, ranOut, keys, count };
  }),
  // microseconds that are left of a lease at the cursor; null: it has ended, or nobody counts
  left: (lease, us) => (lease.end || lease.node === null ? null : Math.max(0, lease.left - (us - lease.start) * lease.rate)),
};
