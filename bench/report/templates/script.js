"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // Theme: the reader's system decides until the button is used.
  const root = document.documentElement;
  const theme = byId("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const showTheme = () => theme.setAttribute("aria-pressed", String(dark()));
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; showTheme(); });
  showTheme();
  byId("print").addEventListener("click", () => window.print());

  // On paper nothing can be unfolded.
  const folded = [];
  addEventListener("beforeprint", () => {
    folded.push(...all("main details:not([open])"));
    folded.forEach((item) => { item.open = true; });
  });
  addEventListener("afterprint", () => folded.splice(0).forEach((item) => { item.open = false; }));

  // Sorting: numbers by value, words by alphabet, what is not defined always last.
  const key = (cell) => cell.dataset.sort ?? cell.textContent.trim();
  const compare = (a, b, numeric, direction) => {
    if (!numeric) return direction * a.localeCompare(b, "en", { numeric: true });
    const x = a === "" ? NaN : Number(a);
    const y = b === "" ? NaN : Number(b);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x === y ? 0 : direction * (x < y ? -1 : 1);
  };
  for (const heading of all(".table-block th[scope=col]")) {
    heading.querySelector("button").addEventListener("click", () => {
      const table = heading.closest("table");
      const column = [...heading.parentElement.children].indexOf(heading);
      const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row, place) => ({ row, place, value: key(row.cells[column]) }));
      const numeric = heading.classList.contains("numeric");
      rows.sort((a, b) => compare(a.value, b.value, numeric, direction) || a.place - b.place);
      body.append(...rows.map((item) => item.row));
    });
  }

  // How many rows of a table are left, wherever some are not.
  const countRows = () => {
    for (const block of all(".table-block")) {
      const rows = all("tbody tr", block);
      const left = rows.filter((row) => !row.matches(".filtered, .unmatched")).length;
      const text = left === rows.length ? "" : `${left} of ${rows.length} rows shown`;
      const place = block.querySelector(".shown");
      if (place.textContent !== text) place.textContent = text;
    }
  };

  // Finding words in a table.
  for (const field of all("input[data-table]")) {
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of all("tbody tr", byId(field.dataset.table))) {
        const text = row.textContent.toLowerCase();
        row.classList.toggle("unmatched", !words.every((word) => text.includes(word)));
      }
      countRows();
    });
  }

  // What is wider than its place says so.
  const showOverflow = () => {
    const wide = all(".scroll").map((item) => [item, item.scrollWidth > item.clientWidth + 4]);
    wide.forEach(([item, more]) => item.classList.toggle("more", more));
  };
  addEventListener("resize", showOverflow);
  showOverflow();

  // Filters: whatever carries the name of something unchecked is hidden, in tables and inside figures.
  const groups = all("fieldset[data-filter]");
  const reset = byId("reset");
  const apply = () => {
    const off = [];
    const hidden = {};
    for (const group of groups) {
      const boxes = all("input", group).filter((box) => !box.checked);
      hidden[group.dataset.filter] = new Set(boxes.map((box) => box.value));
      off.push(...boxes.map((box) => box.closest("label").textContent.trim()));
    }
    const keys = Object.keys(hidden);
    for (const element of all(keys.map((name) => `main [data-${name}]`).join(","))) {
      const hide = keys.some((name) => hidden[name].has(element.dataset[name]));
      element.classList.toggle("filtered", hide);
    }
    reset.disabled = off.length === 0;
    const names = off.slice(0, 8).join(", ") + (off.length > 8 ? " and others" : "");
    byId("filter-state").textContent = off.length === 0 ? "" : `${off.length} hidden: ${names}. Nothing is computed again: the summary and all distances over all attacks still include it.`;
    countRows();
    showOverflow();
  };
  groups.forEach((group) => group.addEventListener("change", apply));
  if (reset) {
    reset.addEventListener("click", () => {
      groups.forEach((group) => all("input", group).forEach((box) => { box.checked = true; }));
      apply();
    });
  }
  if (matchMedia("(max-width: 68rem)").matches) all("nav > details").forEach((item) => { item.open = false; });

  // Names of lines in figures, shown when pointed at.
  const labels = new Map(all("fieldset[data-filter=attack] label").map((label) => [label.querySelector("input").value, label.textContent.trim()]));
  for (const line of all("figure svg [data-attack]")) {
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = [labels.get(line.dataset.attack) ?? line.dataset.attack, line.dataset.network].filter(Boolean).join(", ");
    line.prepend(title);
  }

  // Downloads.
  const save = (name, type, content) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  for (const button of all("button[data-svg]")) {
    button.addEventListener("click", () => {
      const copy = byId(button.dataset.svg).querySelector("svg").cloneNode(true);
      all(".filtered", copy).forEach((element) => element.remove());
      copy.removeAttribute("style");
      // Outside the page there are no variables: what remains is the light style, on white.
      const paper = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      paper.setAttribute("width", "100%");
      paper.setAttribute("height", "100%");
      paper.setAttribute("fill", "#ffffff");
      copy.prepend(paper);
      const text = new XMLSerializer().serializeToString(copy);
      save(`${button.dataset.svg}.svg`, "image/svg+xml", text.replace(/var\(--[\w-]+, ?(#[0-9a-f]{6})\)/g, "$1"));
    });
  }
  for (const button of all("button[data-csv]")) {
    button.addEventListener("click", () => {
      save(`${button.dataset.csv}.csv`, "text/csv", JSON.parse(byId(`${button.dataset.csv}-data`).textContent));
    });
  }
  const quoted = (value) => {
    const safe = /^[=+@\t\r]|^-(?![\d.∞])/.test(value) ? `'${value}` : value;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  // A note stands on a line of its own in the page, behind a colon in a file.
  const words = (cell) => [...cell.childNodes].map((node) => node.textContent.trim()).filter(Boolean).join(": ");
  for (const button of all("button[data-csv-table]")) {
    button.addEventListener("click", () => {
      const table = byId(button.dataset.csvTable).querySelector("table");
      const rows = [...table.rows].filter((row) => !row.matches(".filtered, .unmatched"));
      const lines = rows.map((row) => [...row.cells].map((cell) => quoted(words(cell))).join(","));
      save(`${button.dataset.csvTable}.csv`, "text/csv", `${lines.join("\n")}\n`);
    });
  }
})();
