
  // Sorting: numbers by value, words by alphabet, what is not defined always last. Norms stay together, in the order in
  // which the table has them, unless it is sorted by them; in each, attacks on fewer images come after the others.
  const key = (cell) => cell.dataset.sort ?? cell.textContent.trim();
  const compare = (a, b, numeric, direction) => {
    if (!numeric) return direction * a.localeCompare(b, "en", { numeric: true });
    const x = a === "" ? NaN : Number(a);
    const y = b === "" ? NaN : Number(b);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x === y ? 0 : direction * (x < y ? -1 : 1);
  };
  const firstOrder = new WeakMap();
  const inOrder = (table) => {
    if (!firstOrder.has(table)) firstOrder.set(table, [...table.tBodies[0].rows]);
    return firstOrder.get(table);
  };
  const markGroups = (rows) => rows.forEach((row, place) => {
    row.classList.toggle("start", place > 0 && Boolean(row.dataset.norm) && row.dataset.norm !== rows[place - 1].dataset.norm);
  });
  const sortBy = (table, heading, direction) => {
    const rows = inOrder(table);
    all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
    let sorted = rows;
    if (heading) {
      const column = heading.cellIndex;
      heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const numeric = heading.classList.contains("numeric");
      const norms = [...new Set(rows.map((row) => row.dataset.norm ?? ""))];
      const turned = heading.dataset.key === "norm" ? direction : 1;
      const items = rows.map((row, place) => ({
        row, place, group: turned * norms.indexOf(row.dataset.norm ?? ""), after: row.dataset.after ? 1 : 0, value: key(row.cells[column]),
      }));
      items.sort((a, b) => a.group - b.group || a.after - b.after || compare(a.value, b.value, numeric, direction) || a.place - b.place);
      sorted = items.map((item) => item.row);
    }
    markGroups(sorted);
    table.tBodies[0].append(...sorted);
  };
  document.addEventListener("click", (event) => {
    const heading = event.target.closest?.(".table-block th[data-key]");
    if (!heading) return;
    sortBy(heading.closest("table"), heading, heading.getAttribute("aria-sort") === "ascending" ? -1 : 1);
    changed();
  });

  // How many rows of a table are left, wherever some are not.
  const countRows = () => {
    for (const block of all(".table-block")) {
      const rows = all("tbody tr", block);
      const left = rows.filter((row) => !row.matches(".filtered, .unmatched")).length;
      const text = left === rows.length ? "" : `${left} of ${rows.length} rows shown`;
      const place = block.querySelector(".shown");
      if (place && place.textContent !== text) place.textContent = text;
    }
  };

  // Finding words in a table.
  const find = (field) => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of all("tbody tr", byId(field.dataset.table))) {
      const text = row.textContent.toLowerCase();
      row.classList.toggle("unmatched", !words.every((word) => text.includes(word)));
    }
    countRows();
  };
  document.addEventListener("input", (event) => {
    if (!event.target.matches?.("input[data-table]")) return;
    find(event.target);
    changed(false);
  });

  // A table that the script makes, with what tables of the page have. Columns are {key, heading, numeric}; cells are
  // texts, numbers, or {text, sort, title}; rows are {cells, tags, after}.
  const makeTable = (id, caption, columns, rows, { searched = rows.length > 8 } = {}) => {
    const made = (cell, column) => {
      const { text, sort, title } = typeof cell === "object" ? cell : { text: typeof cell === "number" ? figure(cell) : cell, sort: cell };
      return make("td", { class: column.numeric ? "numeric" : false, "data-sort": sort, title }, text);
    };
    const head = make("tr", {}, ...columns.map((column) => make(
      "th", { scope: "col", "data-key": column.key, class: column.numeric ? "numeric" : false, title: column.explanation },
      make("button", { type: "button" }, column.heading),
    )));
    const body = make("tbody", {}, ...rows.map((row) => {
      const line = make("tr", {}, ...row.cells.map((cell, place) => made(cell, columns[place])));
      Object.assign(line.dataset, row.tags ?? {}, row.after ? { after: "1" } : {});
      return line;
    }));
    markGroups([...body.rows]);
    const table = make("table", {}, make("caption", { class: "hidden" }, caption), make("thead", {}, head), body);
    const bar = make("div", { class: "bar no-print" });
    if (searched) bar.append(make("label", { class: "find" }, "Find ", make("input", { type: "search", "data-table": id, "aria-label": `Find in: ${caption}` })));
    bar.append(make("button", { type: "button", "data-csv-table": id, "aria-label": `CSV of: ${caption}` }, "CSV"));
    bar.append(make("span", { class: "small shown", role: "status" }));
    const scroll = make("div", { class: `scroll${rows.length > 24 ? " tall" : ""}`, role: "region", tabindex: "0", "aria-label": caption }, table);
    return make("div", { class: "table-block", id }, bar, scroll);
  };

  // What tables hold in numbers, for their files: as the page brings it, or as the script has made it.
  const contents = new Map();
  const csvOfTable = async (id) => {
    const table = byId(id).querySelector("table");
    const { heads, rows } = contents.get(id) ?? await unpackedJson(`${id}-data`);
    const headings = [...table.tHead.rows[0].cells];
    const shown = heads.map((head, place) => [head, place]).filter(([head]) => !headings[head[1]].matches(".filtered"));
    const places = new Map(inOrder(table).map((row, place) => [row, place]));
    const lines = [...table.tBodies[0].rows].filter((row) => !row.matches(".filtered, .unmatched")).map((row) => rows[places.get(row)]);
    const text = [shown.map(([head]) => head[0]), ...lines.map((line) => shown.map(([, place]) => line[place]))];
    return `${text.map((line) => line.map(quoted).join(",")).join("\n")}\n`;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-csv-table]");
    if (button) save(`${button.dataset.csvTable}.csv`, await csvOfTable(button.dataset.csvTable), "text/csv");
  });
