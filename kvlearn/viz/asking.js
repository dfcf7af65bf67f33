// "Why?": whatever is clicked is answered in one sentence, with the record that decided it, the rule
// of the code that did, and where the paper has it. The kernel answers (why.py); where there is
// none, in an exported page, the records that the page holds do.

class Asking {
  constructor(bench) {
    this.bench = bench;
    this.box = null;
    this.number = 0;
  }

  ask(what, seq, anchor) {
    const { bench } = this, number = ++this.number;
    this.open(anchor, bench.offline ? this.offline(what, seq) : { sentence: "…" });
    if (!bench.offline) bench.player.ask("why", { what, mark: seq, number });
  }

  leap(what, seq, anchor) { // a double click, or Shift-Enter: go to the record that decided it
    this.bench.why(what, seq, anchor);
    this.leaps = this.number;
    if (this.bench.offline) this.take({ ...this.told, number: this.number });
  }

  take(told) { // the kernel's answer
    if (!this.box || told.number !== this.number) return;
    if (this.leaps === this.number && told.code === undefined && this.bench.line.bySeq(told.seq ?? -1)) {
      this.leaps = 0;
      this.close();
      this.bench.goto(told.seq);
      return;
    }
    if (told.code !== undefined) this.showRule(told); else this.fill(told);
  }

  offline([kind, name, index], seq) {
    const { bench } = this;
    if (kind === "entry") return bench.entryWhy(name, index);
    const lamp = kind === "promise" && lampsOf(bench.line, bench).find((one) => one.name === name);
    if (lamp) return { sentence: `${name}: ${LAMPS[lamp.state]}${lamp.why ? `: ${lamp.why}` : ""}.`, seq: lamp.seq };
    return this.fromRows(kind === "node" ? seq ?? bench.deciding(`${name}.role`) : seq);
  }

  fromRows(seq) {
    const { line } = this.bench, row = seq === null || seq === undefined ? null : line.bySeq(seq);
    if (!row) return { sentence: "The record that decided it is not among those that this page holds." };
    const because = line.why(row);
    return { sentence: line.text(row) + (because ? `, ${because}` : ""), seq: row.seq };
  }

  open(anchor, told) {
    this.close(false);
    this.box = make("div", { class: "kv-menu kv-why-box", role: "dialog", "aria-label": "Why?", tabindex: -1 });
    this.box.anchor = anchor;
    this.bench.root.append(this.box);
    this.fill(told);
    this.box.focus({ preventScroll: true });
  }

  fail(text) { // whoever waits for an answer learns that none will come
    if (this.box && this.told.sentence === "…") this.fill({ sentence: text });
  }

  fill(told) {
    const { bench } = this, { sentence, seq, rule, section, url, unruled } = told;
    this.told = told;
    const link = (action, words, act) => h("button", { key: action, type: "button", "data-kv-action": action, onclick: act }, words);
    const row = seq !== null && seq !== undefined && bench.line.bySeq(seq);
    morph(this.box, [h("b", {}, "Why?"), h("p", { class: "kv-because" }, sentence),
      h("div", { class: "kv-links" },
        row && link("goto", `record ${seq}, ${seconds(row.us)}`, () => (this.close(), bench.goto(seq))),
        rule && link("rule", `${rule.includes(".") ? "code of" : "rule"} ${rule}`, () => bench.player.ask("rule", { rule, number: this.number })),
        unruled && h("span", {}, `no rule: ${unruled}`),
        section && (url ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, section) : h("span", {}, section)),
        link("dismiss", "✕", () => this.close())),
      h("div", { key: "rule" })]);
    this.place();
  }

  showRule({ title, promise, code, where }) {
    morph(this.box.lastChild, [h("p", { class: "kv-rule-of" }, `${title}${promise ? `: ${promise}` : ""}`), h("pre", { tabindex: 0 }, code), h("small", {}, where)]);
    this.place();
  }

  place() {
    const { box, bench } = this, { anchor } = box;
    const at = (anchor.isConnected ? anchor : bench.root).getBoundingClientRect(), all = bench.root.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left - all.left, all.width - box.offsetWidth - 8));
    const below = at.bottom - all.top + 6, above = at.top - all.top - box.offsetHeight - 6;
    const low = Math.min(all.height, inSight(bench.root)[1] - all.top) - 8;
    box.style.left = `${left}px`;
    box.style.top = `${below + box.offsetHeight < low || above < 8 ? Math.max(8, Math.min(below, all.height - box.offsetHeight - 8)) : above}px`;
  }

  close(back = true) {
    const { box } = this;
    if (!box) return;
    this.box = null;
    box.remove();
    if (back) (box.anchor.isConnected ? box.anchor : this.bench.root).focus({ preventScroll: true });
  }
}
