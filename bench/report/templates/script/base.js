  // What every part uses.
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  root.classList.add("js");

  // An element with its attributes and what is in it; text is always text.
  const make = (name, attributes = {}, ...content) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== false && value !== undefined) element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...content.filter((item) => item !== ""));
    return element;
  };

  const stored = (id) => JSON.parse(byId(id).textContent);
  const about = stored("about");

  // What takes many bytes is packed: compressed, as base64.
  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  };
  const unpackedJson = async (id) => JSON.parse(new TextDecoder().decode(await unpacked(stored(id).packed)));

  const save = (name, content, type) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // A cell of a CSV file; a text that a spreadsheet takes for a formula begins with an apostrophe.
  const quoted = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value !== "string" || value === "inf" || value === "-inf") return String(value);
    const safe = /^\s*[=+@-]|^[\t\r\n]/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };

  const parsedCsv = (text) => {
    const rows = [[""]];
    let inside = false;
    for (let place = 0; place < text.length; place += 1) {
      const row = rows[rows.length - 1];
      const letter = text[place];
      if (letter === '"') {
        if (inside && text[place + 1] === '"') { row[row.length - 1] += '"'; place += 1; } else inside = !inside;
      } else if (!inside && letter === ",") row.push("");
      else if (!inside && letter === "\n") rows.push([""]);
      else row[row.length - 1] += letter;
    }
    return rows.filter((row) => row.length > 1 || row[0] !== "");
  };

  // A number as people read it, as bench.report.tables.figure writes it.
  const figure = (value, digits = 3) => {
    if (value === 0) return "0";
    if (Number.isInteger(value) && Math.abs(value) < 1e6) return value.toLocaleString("en");
    const rounded = Number(value.toPrecision(digits));
    if (Math.abs(rounded) < 1e-4 || Math.abs(rounded) >= 1e6) return value.toExponential(digits - 1).replace(/e([+-])(\d)$/, "e$10$2");
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(rounded))));
    const shown = rounded.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
    return rounded === value && shown.includes(".") ? shown.replace(/\.?0+$/, "") : shown;
  };

  // Whoever changes what the address says calls this; the last part of the script listens.
  let changed = () => {};

  // Theme: the reader's system decides until the button is used.
  const theme = byId("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const setTheme = (name) => {
    if (name === "dark" || name === "light") root.dataset.theme = name; else delete root.dataset.theme;
    theme.setAttribute("aria-pressed", String(dark()));
  };
  theme.addEventListener("click", () => { setTheme(dark() ? "light" : "dark"); changed(false); });
  setTheme();

  // What is wider than its place says so, and so do figures that are too small to be read on a narrow screen.
  const narrow = matchMedia("(max-width: 40rem)");
  const textSizes = new WeakMap();
  const smallestText = (drawing) => {
    if (!textSizes.has(drawing)) textSizes.set(drawing, Math.min(...all("text", drawing).map((text) => parseFloat(getComputedStyle(text).fontSize))));
    return textSizes.get(drawing);
  };
  const showOverflow = () => {
    const open = (item) => !item.closest("details:not([open])") && item.clientWidth > 0;
    const wide = all(".scroll").filter(open).map((item) => [item, item.scrollWidth > item.clientWidth + 4, item.scrollHeight > item.clientHeight + 1]);
    for (const [item, more, high] of wide) {
      item.classList.toggle("more", more);
      item.tabIndex = more || high ? 0 : -1; // only what scrolls needs to be reached by keyboard
    }
    const drawn = all(".drawing svg").filter(open);
    const small = drawn.map((item) => [item, narrow.matches && smallestText(item) * item.getScreenCTM().a < 8]);
    small.forEach(([item, preview]) => item.closest("figure").classList.toggle("preview", preview));
  };
  addEventListener("resize", showOverflow);

  // Folds: closed on narrow screens, open and without their line on wide ones.
  const folds = () => all("details.fold");
  const unfold = byId("unfold");
  const setFolds = (open) => {
    folds().forEach((item) => { item.open = open; });
    unfold.setAttribute("aria-pressed", String(open));
    showOverflow();
  };
  narrow.addEventListener("change", () => setFolds(!narrow.matches));
  unfold.addEventListener("click", () => setFolds(unfold.getAttribute("aria-pressed") !== "true"));
  document.addEventListener("toggle", (event) => { if (event.target.matches?.("details.fold")) showOverflow(); }, true);
  setFolds(!narrow.matches);
  if (matchMedia("(max-width: 68rem)").matches) all("nav > details").forEach((item) => { item.open = false; });

  // To a place of the page, which may be folded away.
  const reveal = (element, behavior = "auto") => {
    for (let item = element; item; item = item.parentElement) if (item.matches("details:not(.values)")) item.open = true;
    const own = element.querySelector(":scope > details.fold");
    if (own) own.open = true;
    element.scrollIntoView({ behavior });
  };

  // On paper nothing can be unfolded. The values of figures stay what they are: there may be thousands.
  const folded = [];
  addEventListener("beforeprint", () => {
    const paper = root.dataset.print === "summary" ? "#summary details:not([open])" : "main details:not([open], .values)";
    folded.push(...all(paper));
    folded.forEach((item) => { item.open = true; });
  });
  addEventListener("afterprint", () => {
    folded.splice(0).forEach((item) => { item.open = false; });
    delete root.dataset.print;
  });
  byId("print").addEventListener("click", () => window.print());
  byId("print-summary").addEventListener("click", () => { root.dataset.print = "summary"; window.print(); });
