
  // Names of lines in figures, shown when pointed at.
  const labels = new Map(all("fieldset[data-filter=attack] label").map((label) => [label.querySelector("input").value, label.textContent.trim()]));
  const svg = (name, attributes = {}, text = "") => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(text);
    return element;
  };
  for (const line of all("figure svg [data-attack]")) {
    const name = [labels.get(line.dataset.attack) ?? line.dataset.attack, line.dataset.network].filter(Boolean).join(", ");
    line.prepend(svg("title", {}, name));
  }

  // The values of a figure as a table, made when it is asked for.
  const MOST = 1000;
  document.addEventListener("toggle", async (event) => {
    const place = event.target;
    if (!place.matches?.("details.values") || !place.open || place.dataset.made) return;
    place.dataset.made = "yes";
    const id = place.dataset.values;
    const [heads, ...lines] = parsedCsv(await unpackedJson(`${id}-data`));
    const columns = heads.map((name, place) => ({
      key: name, place, heading: name.replaceAll("_", " "), numeric: lines.every((line) => /^(-?[\d.]+(e[+-]?\d+)?|-?inf|)$/i.test(line[place])),
    })).filter((column) => column.key !== "norm");
    const value = (text, numeric) => {
      if (!numeric) return { text, sort: undefined };
      if (text === "") return { text: "\u2013", sort: "" };
      if (text === "inf") return { text: "\u221e", sort: "Infinity" };
      return { text: figure(Number(text), 4), sort: text };
    };
    const rows = lines.slice(0, MOST).map((line) => ({ cells: columns.map((column) => value(line[column.place], column.numeric)) }));
    const title = byId(id).dataset.title;
    contents.set(`${id}-values`, { heads: columns.map((column, place) => [column.key, place]), rows: lines.map((line) => columns.map((column) => line[column.place])) });
    place.append(makeTable(`${id}-values`, `Values of: ${title}`, columns, rows));
    if (lines.length > MOST) place.append(make("p", {}, `The first ${MOST.toLocaleString("en")} of ${lines.length.toLocaleString("en")} rows; the CSV of the figure has all.`));
    showOverflow();
  }, true);

  // Enlarged: the figure itself moves into the dialog and back; of pictures it is a copy.
  const large = byId("large");
  const content = byId("large-content");
  let giveBack = () => {};
  const enlarge = (title, element, back) => {
    const from = document.activeElement;
    byId("large-title").textContent = title;
    content.replaceChildren(element);
    giveBack = () => { back(); from?.focus?.(); };
    large.showModal();
    byId("large-close").focus();
  };
  large.addEventListener("close", () => { giveBack(); giveBack = () => {}; content.replaceChildren(); });
  byId("large-close").addEventListener("click", () => large.close());
  large.addEventListener("click", (event) => { if (event.target === large) large.close(); });

  const enlargeFigure = (id) => {
    const drawing = byId(id).querySelector(".drawing");
    const picture = drawing.querySelector("svg");
    if (!picture) return;
    const kept = make("span", { style: `display:block;height:${picture.getBoundingClientRect().height}px` });
    picture.replaceWith(kept);
    const box = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `${byId(id).dataset.title}, enlarged` });
    box.append(picture);
    // As large as the window allows; a figure that is larger keeps its size and scrolls.
    const { width, aspectRatio } = picture.style;
    const [across, down] = aspectRatio.split("/").map(Number);
    const own = parseFloat(width);
    const fitting = Math.min((0.9 * innerWidth) / own, (0.76 * innerHeight * across) / (down * own));
    box.style.setProperty("--size", `${Math.floor(own * Math.max(1, fitting))}px`);
    enlarge(byId(id).dataset.title, box, () => kept.replaceWith(picture));
  };
  const enlargePictures = (place) => {
    const pictures = place.querySelector(".pictures");
    const copy = pictures.cloneNode(true);
    const drawn = all("canvas", pictures);
    all("canvas", copy).forEach((canvas, number) => canvas.getContext("2d").drawImage(drawn[number], 0, 0));
    const caption = [...place.querySelector("figcaption").childNodes].filter((node) => !node.matches?.(".bar")).map((node) => node.textContent || "; ").join("");
    enlarge(caption.replace(/\s+/g, " ").trim(), copy, () => {});
  };
  document.addEventListener("click", (event) => {
    if (!event.target.closest || large.contains(event.target)) return;
    const figureButton = event.target.closest("button[data-enlarge]");
    const drawing = event.target.closest(".drawing svg");
    const pictures = event.target.closest("button[data-enlarge-pictures], .pictures");
    if (figureButton) enlargeFigure(figureButton.dataset.enlarge);
    else if (drawing) enlargeFigure(drawing.closest("figure").id);
    else if (pictures) enlargePictures(pictures.closest("figure"));
  });

  // Downloads: by itself a picture says what it is of. Outside the page there are no variables: the light style, on white.
  const ruler = make("canvas").getContext("2d");
  const wrapped = (text, size, weight, fill, most) => {
    ruler.font = `${weight} ${size}px sans-serif`;
    const lines = [""];
    for (const word of text.split(" ").filter(Boolean)) {
      const longer = `${lines[lines.length - 1]} ${word}`.trim();
      if (lines[lines.length - 1] && ruler.measureText(longer).width > most) lines.push(word);
      else lines[lines.length - 1] = longer;
    }
    return lines.filter(Boolean).map((line) => [line, size, weight, fill]);
  };
  const savedSvg = (id) => {
    const place = byId(id);
    const copy = place.querySelector("svg").cloneNode(true);
    all(".filtered", copy).forEach((element) => element.remove());
    copy.removeAttribute("style");
    const [, , width, height] = copy.getAttribute("viewBox").split(/[\s,]+/).map(Number);
    const norm = place.dataset.norm;
    const unit = about.units[norm] ? `Distances in ${place.querySelector("b").textContent}: ${about.units[norm]}` : "";
    const lines = [...wrapped(place.dataset.title, 12, "bold", "#1d2433", width - 12), ...wrapped(unit, 9, "normal", "#525c6d", width - 12)];
    const made = wrapped(`Run ${about.run}; ${about.images}; ${about.date}`, 8, "normal", "#525c6d", width - 12);
    const high = (some) => some.reduce((sum, [, size]) => sum + 1.35 * size, 0);
    const [top, below] = [high(lines) + 8, high(made) + 8];
    const whole = svg("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height + top + below}`, width: `${width}pt`, height: `${height + top + below}pt`, role: "img" });
    whole.append(svg("title", {}, [place.dataset.title, about.run, about.images, about.date].join("; ")));
    whole.append(svg("rect", { width: "100%", height: "100%", fill: "#ffffff" }));
    const write = (some, from) => some.reduce((y, [text, size, weight, fill]) => {
      whole.append(svg("text", { x: 6, y: y + size, "font-size": size, "font-weight": weight, "font-family": "sans-serif", fill }, text));
      return y + 1.35 * size;
    }, from);
    write(lines, 4);
    for (const [name, value] of [["x", 0], ["y", top], ["width", width], ["height", height]]) copy.setAttribute(name, value);
    whole.append(copy);
    write(made, top + height + 3);
    const text = new XMLSerializer().serializeToString(whole);
    return { text: text.replace(/var\(--[\w-]+, ?(#[0-9a-f]{6})\)/g, "$1"), width, height: height + top + below };
  };
  const savePng = (id) => {
    const { text, width, height } = savedSvg(id);
    const scale = Math.min(3, Math.sqrt(16e6 / (width * height)));
    const image = new Image();
    image.addEventListener("load", () => {
      const canvas = make("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => { if (blob) save(`${id}.png`, blob); }, "image/png");
    });
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button[data-svg], button[data-png], button[data-csv]");
    if (!button) return;
    const { svg: drawn, png, csv } = button.dataset;
    if (drawn) save(`${drawn}.svg`, savedSvg(drawn).text, "image/svg+xml");
    if (png) savePng(png);
    if (csv) save(`${csv}.csv`, await unpackedJson(`${csv}-data`), "text/csv");
  });
