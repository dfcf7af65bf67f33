// A transaction as a fork: what it compared and what it saw, the branch that was taken in full
// colour, and one revision for all that it changed (forks.py is its twin).

const FORK_IF = 460, FORK_BRANCH = 340, FORK_ROW = 20;

PANES.txn = {
  title: "Transaction",
  needs: ["s", "lit"],
  version: (bench) => JSON.stringify([bench.txnAt, bench.preview]),
  of: (line, bench) => {
    const { fork, done } = forkAt(line, bench);
    return fork ? (done ? `${fork.index ? `log entry ${fork.index}, ` : ""}${forkOutcome(fork, done)}`
      : `not asked yet: ${forkOutcome(fork, done)}`) : "";
  },

  draw(line, bench, width) {
    const { fork, done, earlier, later } = forkAt(line, bench);
    if (!fork) return [h("p", { class: "kv-empty" }, forkEmpty(bench))];
    const [body, high] = forkPicture(line, bench, fork, done, width), words = forkWords(line, fork, done);
    const tool = (action, told, to) => h("button", { key: action, type: "button", "data-kv-action": action,
      "aria-disabled": to === null, onclick: () => to !== null && forkGo(line, bench, to) }, told);
    return [done && h("div", { key: "tools", class: "kv-t-tools", role: "toolbar",
      "aria-label": "Transactions up to the cursor" }, tool("txn-earlier", "◂ earlier", earlier),
      tool("txn-later", "later ▸", later)),
      h("svg", { key: "fork", viewBox: `0 0 ${width} ${high}`, width, height: high, role: "group",
        "aria-label": words.split("\n")[0], "data-kv-fork": done ? fork.index : "now",
        "data-kv-succeeded": String(fork.succeeded), "data-kv-revision": forkMoved(fork, done) ? fork.revision : null,
        style: done ? bench.colours(fork.term) : "--term:var(--kv-good)" }, body)].filter(Boolean);
  },

  text(line, bench) {
    const { fork, done } = forkAt(line, bench);
    return fork ? forkWords(line, fork, done) : forkEmpty(bench);
  },
};

const forkEmpty = (bench) => `No transaction yet: ${bench.offline ? "at this moment none was decided."
  : "client.txn().if_(...).then(...).else_(...).commit() asks for one."}`;
const forkMoved = (fork, done) => done && fork.revision > fork.before;
const forkSides = (fork) => [[!fork.error && fork.succeeded, fork.then, "then"],
  [!fork.error && !fork.succeeded, fork.otherwise, "else"]];

function forkBefore(line, number) { // the transaction that was decided before this one: its record says so
  const told = line.tables.forks[number], row = told && line.bySeq(told[6]);
  const patch = row && row.patches.find(([key, , now]) => key === "s.fork" && now === number);
  return patch && patch[1] !== undefined ? patch[1] : null;
}

function forkAt(line, bench) { // what is drawn: a preview, the one that was chosen, or the last one
  if (bench.preview) return { fork: Store.forkOf(bench.preview), done: false };
  const last = line.state["s.fork"] ?? null, { txnAt } = bench, chosen = txnAt && txnAt.last === last ? txnAt.shown : last;
  let later = null;
  for (let at = last; at !== null && at !== chosen; at = forkBefore(line, at)) later = at;
  return { fork: chosen === null ? null : Store.forkOf(line.tables.forks[chosen]), done: true,
    earlier: chosen === null ? null : forkBefore(line, chosen), later };
}

function forkGo(line, bench, shown) { // it stays until another transaction is the cursor's last
  bench.txnAt = { last: line.state["s.fork"], shown };
  bench.player.dirty = true;
}

function forkOutcome(fork, done) {
  if (!done) return fork.error ? `would be refused: ${fork.error}`
    : `would take “${fork.succeeded ? "then" : "else"}” now`;
  if (fork.error) return `refused: ${fork.error}`;
  return forkMoved(fork, done) ? `revision ${fork.revision}` : `revision stays ${fork.revision}: nothing changed`;
}

function forkHead(fork, done) {
  return done ? `${seconds(fork.us)} · log entry ${fork.index} of term ${fork.term} · decided at revision ${fork.before}`
    : `not asked yet · it would be decided at revision ${fork.before}`;
}

const forkEffects = (line, fork, done) => (forkMoved(fork, done) ? Store.changes(line).filter((c) =>
  c.main === fork.revision && c.index === fork.index) : []);

function forkWords(line, fork, done) {
  const way = fork.succeeded ? "then" : "else", more = (left) => (left ? [`  … ${left} more`] : []);
  const title = !done ? `A transaction that would take its ${way} branch` : fork.error
    ? `The transaction of log entry ${fork.index}, refused`
    : `The transaction of log entry ${fork.index} took its ${way} branch`;
  const seen = fork.seen.map(([told, holds, saw]) => `  ${holds ? "holds" : "does not hold"}: ${told} (saw ${saw})`);
  const sides = forkSides(fork).flatMap(([taken, [lines, left], name]) => [
    `${name} (${taken ? (done ? "taken" : "would be taken") : "not taken"})`,
    ...lines.map(([depth, sign, told, dead]) => {
      const holds = sign === null ? "" : sign ? "holds: " : "does not hold: ";
      return `  ${"  ".repeat(depth)}${dead || !taken ? "- " : "+ "}${holds}${told}`;
    }), ...more(left)]);
  return [title, forkHead(fork, done), "if", ...(seen.length ? seen : ["  nothing is asked"]),
    ...(fork.more[0] ? [`  … ${fork.more[0]} more, of which ${fork.more[1]} do not hold`] : []), ...sides,
    forkOutcome(fork, done),
    ...forkEffects(line, fork, done).map((c) => `  ${changeWords(c, Store.holes(line).has(c.number))}`)].join("\n");
}

// Drawing

function forkSign(holds, x, y) {
  return h("path", { class: holds ? "kv-t-holds" : "kv-t-fails", d: holds
    ? `M${x - 5},${y} L${x - 1.5},${y + 4} L${x + 5},${y - 4.5}`
    : `M${x - 4},${y - 4} L${x + 4},${y + 4} M${x - 4},${y + 4} L${x + 4},${y - 4}` });
}

function foldTo(text, room, most) { // lines of text that fit, the last one cut
  const lines = [""];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (wide(longer, 12) <= room || !lines.at(-1) || lines.length === most) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.map((one) => cutTo(one, room, 12));
}

function forkPicture(line, bench, fork, done, width) {
  const ask = (more) => (done ? asked(bench, ["txn", fork.index], fork.seq, more) : { role: "img", ...more });
  const middle = width / 2, room = Math.min(FORK_BRANCH, (width - 20) / 2), sides = forkSides(fork);
  const split = 28 + forkHigh(fork.seen.length, fork.more[0]), top = split + 40;
  const highs = sides.map(([, [lines, left]]) => forkHigh(lines.length, left)), foot = top + Math.max(...highs);
  const spots = [middle - room / 2 - 8, middle + room / 2 + 8], bend = (x, y, to, below) =>
    `M${x},${y} C${x},${y + (below - y) * 0.7} ${to},${y + (below - y) * 0.3} ${to},${below}`;
  const ways = sides.map(([taken], k) => [h("path", { key: `way${k}`, class: taken ? "kv-t-way" : "kv-t-other",
    d: bend(middle + (spots[k] - middle) * 0.28, split, spots[k], top) }),
    taken && h("path", { key: `join${k}`, class: "kv-t-way",
      d: `M${spots[k]},${top + highs[k]} V${foot} ${bend(spots[k], foot, middle, foot + 34)}` })]);
  const [end, bottom] = forkEnd(line, bench, fork, done, middle, foot + 34, width, ask), told = forkHead(fork, done);
  const head = h("g", ask({ key: "head", "aria-label": told }),
    h("rect", { x: 0, y: 1, width: Math.min(width, wide(told) + 12), height: 18, rx: 4, class: "kv-hit" }),
    h("text", { x: 4, y: 14, class: "kv-tiny" }, h("title", {}, told), cutTo(told, width - 4)));
  return [[head, h("g", { key: "ways", "aria-hidden": true }, ways), forkIf(fork, ask, middle, width),
    sides.map(([taken, ops, name], k) =>
      forkBranch(ask, ops, name, taken, done, spots[k] - room / 2, top, room, highs[k])), end], bottom + 12];
}

const forkHigh = (rows, more) => 28 + FORK_ROW * (Math.max(1, rows) + (more ? 1 : 0));

function forkIf(fork, ask, middle, width) {
  const room = Math.min(FORK_IF, width - 4), left = middle - room / 2, row = (k) => 28 + 24 + FORK_ROW * k;
  const high = forkHigh(fork.seen.length, fork.more[0]);
  return h("g", { key: "if", class: "kv-t-if" }, h("rect", { x: left, y: 28, width: room, height: high, rx: 6,
    class: "kv-t-box" }),
    h("text", { x: left + 12, y: 45, class: "kv-t-word" }, "if"),
      h("text", { x: left + room - 12, y: 45, "text-anchor": "end", class: "kv-tiny" }, "it saw"),
    fork.seen.map(([told, holds, saw], k) => {
      const words = `${told}: saw ${saw}, ${holds ? "holds" : "does not hold"}`, shown = cutTo(saw, room * 0.4);
      return h("g", ask({ key: `c${k}`, class: holds ? "" : "kv-t-no", "aria-label": words, "data-kv-compare": told,
        "data-kv-holds": String(holds) }), h("title", {}, words),
        h("rect", { x: left + 5, y: row(k), width: room - 10, height: FORK_ROW, rx: 4, class: "kv-hit" }),
          forkSign(holds, left + 19, row(k) + 10),
        h("text", { x: left + 32, y: row(k) + 14 }, cutTo(told, room - 56 - wide(shown), 12)),
          h("text", { x: left + room - 12, y: row(k) + 14, "text-anchor": "end", class: "kv-t-saw" }, shown));
    }),
    !fork.seen.length && h("text", { x: left + 32, y: row(0) + 14, class: "kv-tiny" },
      "nothing is asked: always “then”"),
    fork.more[0] ? h("text", { x: left + 32, y: row(fork.seen.length) + 14, class: "kv-tiny" },
      `… ${fork.more[0]} more, of which ${fork.more[1]} do not hold`) : null);
}

function forkBranch(ask, [lines, more], name, taken, done, left, top, room, high) {
  const told = `${name}: ${!taken ? "not taken" : done ? "taken" : "would be taken"}`,
    row = (k) => top + 24 + FORK_ROW * k;
  return h("g", ask({ key: name, class: taken ? "kv-t-taken" : "kv-t-pale",
    "aria-label": `${told}; ${lines.map(([, , words]) => words).join("; ") || "nothing"}`, "data-kv-branch": name,
    "data-kv-taken": String(taken) }),
    h("rect", { x: left, y: top, width: room, height: high, rx: 6, class: "kv-t-branch" }),
      h("rect", { x: left, y: top, width: room, height: high, rx: 6, class: "kv-hit" }),
    h("text", { x: left + 12, y: top + 17, class: "kv-t-word" }, cutTo(told, room - 20, 12)),
    lines.map(([depth, sign, words, dead], k) => {
      const x = left + 14 + Math.min(14 * depth, room / 3);
      return h("g", { key: `o${k}`, class: dead && taken ? "kv-t-dead" : "", "data-kv-operation": words },
        h("title", {}, words), sign === null ? null : forkSign(sign, x + 4, row(k) + 10),
        h("text", { x: x + (sign === null ? 0 : 15), y: row(k) + 14 },
          cutTo(words, left + room - 8 - x - (sign === null ? 0 : 15), 12)));
    }),
    !lines.length && h("text", { x: left + 14, y: row(0) + 14, class: "kv-tiny" }, "nothing"),
    more ? h("text", { x: left + 14, y: row(lines.length) + 14, class: "kv-tiny" }, `… ${more} more`) : null);
}

function forkEnd(line, bench, fork, done, middle, y, width, ask) { // one revision for all of it
  const told = forkOutcome(fork, done), room = Math.min(330, width - 8), lines = foldTo(told, room - 24, 3);
  const high = 10 + 16 * lines.length, moved = forkMoved(fork, done), changes = forkEffects(line, fork, done), most = 9;
  const words = changes.map((c) => {
    const verb = { create: "creates", modify: "changes", delete: "deletes" }[c.kind];
    const gone = Store.holes(line).has(c.number) ? " (removed since)" : "";
    return `${c.main}.${c.sub} ${verb} ${c.key}${c.kind === "delete" ? "" : `=${c.text}`}${gone}`;
  });
  const longest = Math.min(width - 40, Math.max(0, ...words.map((one) => wide(one, 12))));
  const left = middle - longest / 2, at = (k) => y + high + 14 + 20 * k;
  const pill = (look) => h("rect", { x: middle - room / 2, y, width: room, height: high, rx: 13, class: look });
  return [[h("g", ask({ key: "end", class: moved ? "kv-t-moved" : fork.error ? "kv-t-error" : "", "aria-label": told,
    "data-kv-outcome": fork.error ? "refused" : moved ? "revision" : "nothing" }),
    h("title", {}, told), pill("kv-t-end"), pill("kv-hit"),
    lines.map((one, k) => h("text", { x: middle, y: y + 17 + 16 * k, "text-anchor": "middle", class: "kv-t-word" }, one))),
  h("g", { key: "effects" }, changes.slice(0, most).map((c, k) => [markOf(line, bench, c, left - 8, at(k), 5.5),
    h("text", { x: left + 6, y: at(k) + 4 }, h("title", {}, words[k]), cutTo(words[k], width - left - 10, 12))]),
    changes.length > most && h("text", { x: left, y: at(most) + 4, class: "kv-tiny" },
      `… ${changes.length - most} more`))], at(Math.min(changes.length, most + 1)) - 6];
}
