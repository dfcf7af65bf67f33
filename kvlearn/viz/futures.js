// Both futures: what was left when the cursor went back and something else was done. Each is a lane
// below the time: from where it parts from the present to its end; one can go there, or compare.

class Futures {
  constructor(bench) {
    this.bench = bench;
    this.lanes = [];
    this.open = false;
    this.root = make("section", { class: "kv-futures", "aria-label": "Futures" });
    this.fields = {};
    this.draw();
  }

  take(told) {
    if (told.futures) { // what stood there was compared with another present
      this.lanes = told.futures;
      this.compared = null;
    }
    if (told.compared) this.compared = told.compared;
    if (told.code !== undefined) this.code = told.code;
    if (told.futures || told.compared || told.code !== undefined) this.draw();
  }

  ask(op, more = {}) { this.bench.act(op, more); }

  draw() {
    const { bench, lanes } = this, { line } = bench;
    const ends = lanes.map(({ to }) => to), end = Math.max(line.head, ...ends, 1);
    const button = (action, words, act, more = {}) => h("button", { key: `${action} ${more.of || ""}`, type: "button",
      "data-kv-action": action, "data-kv-target": more.of || null, onclick: act, "aria-label": more.label || null, title: more.label || null,
      "aria-expanded": more.expanded, disabled: more.disabled || false }, words);
    const head = h("div", { key: "head", class: "kv-futures-head" },
      button("futures", `${this.open ? "▾" : "▸"} futures${lanes.length ? ` (${lanes.length})` : ""}`, () => ((this.open = !this.open), this.draw()), { expanded: this.open }),
      !this.open && h("span", { class: "kv-of" }, lanes.length ? "what you left is kept here" : "go back, change one thing, play on: what you left is kept here"));
    morph(this.root, [head, ...(this.open || lanes.length ? lanes.map((lane) => this.lane(lane, end, button)) : []),
      ...(this.compared ? [this.comparison(button)] : []), ...(this.open ? [this.tools(button)] : [])]);
  }

  lane({ name, from, to, records, marks }, end, button) {
    const at = (us) => (980 * us) / end;
    const field = (event) => event.target.value.trim() && event.target.value !== name && this.ask("rename_future", { name, to: event.target.value });
    return h("div", { key: `lane ${name}`, class: "kv-future", "data-kv-future": name },
      h("input", { value: name, size: 20, "aria-label": `Name of the future ${name}`, onchange: field }),
      h("svg", { viewBox: "0 0 1000 16", preserveAspectRatio: "none", class: "kv-future-lane", role: "img",
        "aria-label": `${name}: parts at ${seconds(from)}, ends at ${seconds(to)}, ${records} records` },
        h("path", { class: "kv-future-past", d: `M0,8 H${at(from)}` }), h("path", { class: "kv-future-way", d: `M${at(from)},8 H${at(to)}` }),
        marks.map(([us, text], k) => h("path", { key: k, class: "kv-future-mark", d: `M${at(us)},2 V14` }, h("title", {}, `${seconds(us)}: ${text}`)))),
      h("span", { class: "kv-tiny-word" }, `to ${seconds(to)}`),
      button("open_future", "go there", () => this.ask("open_future", { name }), { of: name, label: `Go over to ${name}; the present is kept` }),
      button("compare", "compare", () => this.ask("compare", { name }), { of: name, label: `Compare ${name} with the present` }),
      button("forget_future", "✕", () => this.ask("forget_future", { name }), { of: name, label: `Forget ${name}` }));
  }

  comparison(button) {
    const { name, equal, first, here, there, rows, more } = this.compared, { bench } = this;
    const known = first !== null && bench.line.bySeq(first);
    return h("div", { key: "compared", class: "kv-compared", role: "region", "aria-label": `The present compared with ${name}` },
      h("div", { class: "kv-links" }, h("b", {}, equal ? `The present and ${name} are the same.` : `They part at record ${first}`),
        known && button("goto", "go to that record", () => bench.goto(first)),
        button("compared", "✕", () => ((this.compared = null), this.draw()), { label: "Close the comparison" })),
      !equal && h("div", { class: "kv-table-box", tabindex: 0 }, h("table", {}, h("thead", {}, h("tr", {}, ["", "present", name].map((word) => h("th", { scope: "col" }, word)))),
        h("tbody", {}, [["first difference", here, there], ...rows].map((row, k) => h("tr", { key: k, class: row[1] === row[2] ? "" : "kv-differs" },
          row.map((cell, n) => h(n ? "td" : "th", { scope: n ? null : "row" }, cell))))))),
      more > 0 && h("small", {}, `… ${more} more`));
  }

  tools(button) {
    const field = (name, label, usual, size) => h("label", { key: name }, h("span", {}, label), h("input", { name, size, placeholder: usual,
      oninput: (event) => (this.fields[name] = event.target.value) }));
    const value = (name, usual) => (this.fields[name] || usual).trim();
    return h("form", { key: "tools", class: "kv-future-tools", onsubmit: (event) => event.preventDefault() },
      field("future", "name", "plan B", 12), button("keep_future", "keep the present", () => this.ask("keep_future", { name: value("future", "plan B") })),
      button("share", "share as a code", () => this.ask("share")),
      this.code !== undefined && h("label", { key: "shared", class: "kv-code" }, h("span", {}, "code"), h("input", { value: this.code, readonly: true, size: 24,
        onfocus: (event) => event.target.select() })),
      this.code !== undefined && button("copy_code", "copy", (event) => copyText(this.code, event.currentTarget)),
      field("code", "open a code", "kv1-…", 18), button("open_code", "open", () => this.ask("open_code", { code: value("code", "") })),
      field("path", "file", "branches.json", 14), button("save_futures", "save", () => this.ask("save_futures", { path: value("path", "branches.json") })),
      button("load_futures", "load", () => this.ask("load_futures", { path: value("path", "branches.json") })));
  }
}

function copyText(text, button) { // and say so where it was pressed
  const said = (word) => {
    const { textContent } = button;
    button.textContent = word;
    setTimeout(() => button.isConnected && (button.textContent = textContent), 1200);
  };
  if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(() => said("copied"), () => said("press Ctrl-C"));
  else {
    const area = document.body.appendChild(make("textarea", { "aria-hidden": "true", style: "position:fixed;opacity:0" }));
    area.value = text;
    area.select();
    said(document.execCommand("copy") ? "copied" : "press Ctrl-C");
    area.remove();
    button.focus();
  }
}
