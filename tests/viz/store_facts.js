// Reads a run as the browser does, with the browser's own files, and prints the facts that
// store_facts.py knows: node store_facts.js player.js pictures.js ... < run.json
const { readFileSync } = require("fs");
globalThis.matchMedia = () => ({ matches: true });
const source = process.argv.slice(2).map((file) => readFileSync(file, "utf8")).join("\n");
const { Timeline, Store, keyIndex, lifeWords, vanishing, answerAt, PANES } = new Function(
  `${source}; return { Timeline, Store, keyIndex, lifeWords, vanishing, answerAt, PANES };`)();

const at = (change) => [change.main, change.sub];
const facts = (c) => [c.main, c.sub, c.kind, c.key, c.text, c.version, c.lease, c.term, c.index, c.seq];

function pages(line, number) {
  const [children, keys, holes] = line.state[`page.${number}`];
  if (children) return [number, keys, children.map((child) => pages(line, child))];
  return [number, ...[keys, holes].map((list) => list.map((n) => at(Store.change(line, n))))];
}

function watcher(line, w) {
  return { facts: [w.name, w.what, w.first, w.position], node: w.node, state: [w.state, w.end, w.lost],
    told: [...w.told].map((n) => Store.change(line, n)).map((c) => [c.key, c.main]), behind: w.behind.map(at),
    pale: w.pale.map(at), missed: w.missed.map(at), odd: Boolean(w.odd) };
}

function look(line, times) {
  const leases = Store.leases(line).map((lease) => [lease.id, {
    facts: [lease.ttl, lease.granted, lease.end, lease.revision, lease.end ? null : lease.node],
    times: [lease.ended, lease.ranOut], keys: [lease.keys, lease.count],
    left: times.map((us) => Store.left(lease, us)) }]);
  const changes = Store.changes(line), fork = line.state["s.fork"];
  const gone = [...Store.holes(line)].map((n) => at(Store.change(line, n))).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return { revision: Store.revision(line), compacted: Store.compacted(line), changes: changes.map(facts), holes: gone,
    index: Object.fromEntries([...keyIndex(line)].map(([key, lives]) => [key, lives.map(lifeWords).join(" ")])),
    pages: changes.length ? pages(line, line.state["s.root"]) : null,
    watchers: Store.watchers(line).map((w) => watcher(line, w)), leases: Object.fromEntries(leases),
    fork: fork === undefined || fork === null ? null : line.tables.forks[fork],
    words: [PANES.revisions, PANES.trees].map((pane) => pane.text(line, { offline: true }).split("\n")) };
}

const { run, cursors, asks } = JSON.parse(readFileSync(0, "utf8"));
const line = new Timeline();
line.take({ reset: 0, seq: -1, now: 0, ...run, complete: true });
const told = cursors.map(([place, times]) => (line.toRow(place), look(line, times)));
line.toRow(line.rows.length);
const keys = [...Store.lanes(line).keys()], value = (answer) => (answer && answer.main ? [...at(answer), answer.text, answer.version] : answer);
const answers = asks.map((revision) => ({ revision, vanish: vanishing(Store.there(line), revision).map(at),
  get: Object.fromEntries(keys.map((key) => [key, value(answerAt(line, key, revision))])) }));
console.log(JSON.stringify({ told, answers }));
