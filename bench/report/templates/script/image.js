
  // One image with every attack on it. Its data are packed (bench.report.images); they are unpacked once.
  const imageData = byId("image-data") ? (async () => {
    const packed = stored("image-data");
    const data = JSON.parse(new TextDecoder().decode(await unpacked(packed.numbers)));
    const bytes = packed.pictures ? await unpacked(packed.pictures) : new ArrayBuffer(0);
    data.values = data.kind === "values" ? new Float32Array(bytes) : new Uint8Array(bytes);
    data.steps = data.kind === "values" ? data.values : new Int8Array(bytes);
    data.places = new Map(data.images.map(([image], place) => [image, place]));
    data.shown = new Map(data.pictured.map((place, order) => [place, order]));
    data.largest = new Map(data.scales.map(([network, norm, values]) => [`${network} ${norm}`, values]));
    data.bounded = data.attacks.some(([, , , kind]) => kind !== "upper");
    data.of = data.images.map(() => []);
    for (const [network, attack, place, status, taken, ...rest] of data.records) {
      const distances = new Map(data.norms.map(([norm], column) => [norm, rest[column]]));
      data.of[place].push({ network, attack, status, taken, distances, lower: rest[data.norms.length], block: rest[data.norms.length + 1] });
    }
    return data;
  })() : undefined;

  // Values of an image (part 0: clean; else of a network and norm) where the page holds them.
  const part = (data, values, number, place) => {
    const size = data.size;
    const start = (number * data.shown.size + data.shown.get(place)) * size;
    return values.subarray(start, start + size);
  };
  const partOf = (data, network, norm) => 1 + network * data.own.length + data.own.indexOf(norm);

  const canvas = (data, label, colour) => {
    const made = make("canvas", { width: data.width, height: data.height, role: "img", "aria-label": label });
    const context = made.getContext("2d");
    const image = context.createImageData(data.width, data.height);
    for (let pixel = 0; pixel < data.width * data.height; pixel += 1) image.data.set([...colour(pixel), 255], 4 * pixel);
    context.putImageData(image, 0, 0);
    return made;
  };
  const drawnFrom = (data, values, label) => canvas(data, label, (pixel) => {
    if (data.channels === 1) return [values[pixel], values[pixel], values[pixel]];
    return [0, 1, 2].map((channel) => values[3 * pixel + channel]);
  });
  const drawnChange = (data, steps, label) => canvas(data, label, (pixel) => {
    let step = 0;
    for (let place = pixel * data.channels; place < (pixel + 1) * data.channels; place += 1) {
      if (Math.abs(steps[place]) > Math.abs(step)) step = steps[place];
    }
    return data.ramp.slice(3 * (step + data.levels), 3 * (step + data.levels) + 3);
  });

  const named = (data, label) => data.classes[label] ?? String(label);
  const withUnit = (data, norm, value) => {
    const [, , unit] = data.norms.find(([name]) => name === norm);
    if (!unit) return figure(value);
    if (norm === "l0") return `${figure(value)} ${value === 1 ? unit.replace(/s$/, "") : unit}`;
    return unit === "box widths" ? `${figure(value)} ${unit}` : `${figure(value)} (${unit})`;
  };

  const picturesOf = (data, place, network, norm, words) => {
    const clean = part(data, data.values, 0, place);
    const steps = part(data, data.steps, partOf(data, network, norm), place);
    const largest = data.largest.get(`${network} ${norm}`)[data.shown.get(place)];
    const scale = (255 * largest) / data.box / data.levels;
    const changedTo = Uint8ClampedArray.from(clean, (value, at) => value + scale * steps[at]);
    const below = `change, up to ${figure(largest)}`;
    return make("div", { class: "pictures" }, ...[
      [drawnFrom(data, clean, words.clean), "original"],
      [drawnFrom(data, changedTo, words.taken), "adversarial"],
      [drawnChange(data, steps, `The change, at most ${figure(largest)} at any value`), below],
    ].map(([picture, text]) => make("span", {}, picture, make("small", {}, text))));
  };
  const changesOf = (data, place, network, norm, words) => {
    const clean = part(data, data.values, 0, place);
    const after = part(data, data.values, partOf(data, network, norm), place);
    // The largest change for its box first; what L0 does not count is no change there.
    const sizes = clean.map((value, at) => Math.abs(after[at] - value) / data.widths[at]);
    const least = norm === "l0" ? data.tolerance : 0;
    const places = [...clean.keys()].filter((at) => sizes[at] > least).sort((a, b) => sizes[b] - sizes[a] || a - b);
    const head = ["Value", "Before", "After", "Change"].map((name, at) => make("th", { scope: "col", class: at ? "plain numeric" : "plain" }, name));
    const lines = places.map((at) => make("tr", {}, make("td", {}, data.names[at]), ...[clean[at], after[at], after[at] - clean[at]].map((value) => make("td", { class: "numeric" }, figure(value)))));
    const table = make("table", { class: "changes" }, make("caption", { class: "hidden" }, words.changes), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
    return make("div", { class: "scroll short", role: "region", tabindex: "0", "aria-label": words.changes }, table);
  };

  // The nearest example in a norm on a network.
  const classOf = new Map(all("[data-network][class*=network-]").map((item) => [item.dataset.network, [...item.classList].find((name) => name.startsWith("network-"))]));
  const exampleCard = (data, place, best, record) => {
    const [network, norm, , attack, pixels, lower, exact] = best;
    const label = data.norms.find(([name]) => name === norm)[1];
    const name = data.networks[network];
    const [image, right] = data.images[place];
    const card = make("figure", { class: `example ${classOf.get(name) ?? ""}` });
    Object.assign(card.dataset, { network: name, norm });
    const certified = lower > 0 ? `; certified: at least ${figure(lower)}${exact ? ", so the distance is exact" : ""}` : "; no certified bound";
    const bound = data.bounded ? certified : "";
    const caption = make("figcaption", {}, make("b", {}, label));
    if (!record) {
      caption.append(`: no adversarial example is known${bound}`);
    } else {
      const of = `image ${image} on ${name}, ${label}`;
      const words = { clean: `Image ${image}, class ${named(data, right)}`, taken: `Its adversarial example, taken for class ${named(data, record.taken)}`, changes: `Changes of ${of}` };
      const held = data.shown.has(place) && data.largest.get(`${network} ${norm}`)[data.shown.get(place)] >= 0;
      if (held) card.append((data.kind === "picture" ? picturesOf : changesOf)(data, place, network, norm, words));
      const inPixels = data.kind === "picture" && data.channels > 1 && norm === "l0" ? ` in ${pixels} pixel${pixels === 1 ? "" : "s"}` : "";
      caption.append(` distance ${withUnit(data, norm, record.distances.get(norm))}${inPixels}: ${named(data, right)} \u2192 ${named(data, record.taken)}`, make("br"));
      caption.append(`found by ${data.attacks[attack][5]}${bound}`);
      if (held && data.kind === "picture") {
        const button = make("button", { type: "button", "data-enlarge-pictures": true, "aria-haspopup": "dialog", "aria-label": `Enlarge: ${of}` }, "Enlarge");
        caption.append(" ", make("span", { class: "bar no-print" }, button));
      }
    }
    card.append(caption);
    return card;
  };

  // All attacks and bounds on an image, in numbers.
  const attacksTable = (data, place) => {
    const nearest = new Map();
    for (const [network, norm, at, attack] of data.best) if (at === place && attack >= 0) nearest.set(`${network} ${norm}`, attack);
    const found = (record) => data.statuses[record.status][0] === "found";
    const best = (record, norm) => {
      const own = data.of[place].find((other) => other.network === record.network && other.attack === nearest.get(`${record.network} ${norm}`));
      return own && found(own) ? own.distances.get(norm) : NaN;
    };
    const columns = [
      { key: "attack", heading: "Attack or bound" }, { key: "norm", heading: "Norm" }, { key: "network", heading: "Network" },
      { key: "status", heading: "Status" }, { key: "taken_for", heading: "Taken for" },
      { key: "ratio", heading: "Ratio", numeric: true, explanation: "distance in the attack's own norm over the nearest known of this image" },
      ...data.norms.map(([norm, label]) => ({ key: norm, heading: label, numeric: true })),
      ...(data.bounded ? [{ key: "certified", heading: "Certified at least", numeric: true }] : []),
      { key: "forwards", heading: "Forward", numeric: true, explanation: "images passed forward through the network" },
      { key: "backwards", heading: "Backward", numeric: true, explanation: "gradients asked for" },
      { key: "measured", heading: "Passes are", explanation: "passes are counted for a call: of several images at once only their mean is known" },
    ];
    const lines = data.of[place].filter((record) => data.statuses[record.status][0] !== "misclassified").map((record) => {
      const [name, label, norm, kind, library] = data.attacks[record.attack];
      const [forward, backward, many] = kind === "upper" && data.costs[record.block] ? data.costs[record.block] : [null, null, 0];
      const ratio = found(record) && kind === "upper" ? record.distances.get(norm) / best(record, norm) : NaN;
      const values = [
        label, norm, data.networks[record.network], data.statuses[record.status][0], found(record) ? named(data, record.taken) : "",
        Number.isFinite(ratio) ? Number(ratio.toPrecision(5)) : null,
        ...data.norms.map(([column]) => (found(record) ? record.distances.get(column) : null)),
        ...(data.bounded ? [record.lower > 0 ? record.lower : null] : []), forward, backward,
        many === 0 ? "" : many === 1 ? "of this image" : `the mean of ${many} images`,
      ];
      return { values, norm, name, library, network: record.network, explanation: data.statuses[record.status][1], own: found(record) ? record.distances.get(norm) : Infinity };
    });
    const order = new Map(data.norms.map(([norm], at) => [norm, at]));
    lines.sort((a, b) => order.get(a.norm) - order.get(b.norm) || a.network - b.network || (a.own < b.own ? -1 : a.own > b.own ? 1 : 0));
    const shownNorm = new Map(data.norms.map(([norm, label]) => [norm, label]));
    const rows = lines.map((line) => ({
      cells: line.values.map((value, at) => {
        if (columns[at].numeric) return value === null ? { text: "\u2013", sort: "" } : { text: figure(value, columns[at].key === "ratio" ? 4 : 3), sort: value };
        return { text: columns[at].key === "norm" ? shownNorm.get(value) : value, sort: undefined, title: columns[at].key === "status" ? line.explanation : undefined };
      }),
      tags: { network: line.values[2], norm: line.norm, library: line.library, attack: line.name },
    }));
    contents.set("table-image", { heads: columns.map((column, at) => [column.key, at]), rows: lines.map((line) => line.values) });
    return makeTable("table-image", `All attacks and bounds on image ${data.images[place][0]}`, columns, rows);
  };

  const imagePlace = byId("image-shown");
  let chosenImage = null;
  const showImage = (data, image) => {
    chosenImage = image;
    byId("image").classList.toggle("no-print", image === null);
    byId("image-close").disabled = image === null;
    const place = data.places.get(image);
    byId("image-previous").disabled = !(place > 0);
    byId("image-next").disabled = place === undefined || place + 1 === data.images.length;
    all(".choice").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.image) === image)));
    if (image === null) { imagePlace.replaceChildren(); return; }
    const right = data.images[place][1];
    const parts = [make("h3", { id: "image-name", tabindex: "-1" }, `Image ${image}, class ${named(data, right)}`)];
    data.networks.forEach((name, network) => {
      const decided = data.predicted.find(([own, at]) => own === network && at === place)?.[2];
      if (decided === undefined) return;
      const told = decided === right ? `: classified as ${named(data, decided)}, which is right` : `: misclassified as ${decided < 0 ? "nothing" : named(data, decided)}, so the distance is 0 and nothing was attacked`;
      const cards = decided !== right ? [] : data.best.filter(([own, , at]) => own === network && at === place).map((best) => exampleCard(
        data, place, best, best[3] < 0 ? undefined : data.of[place].find((record) => record.network === network && record.attack === best[3]),
      ));
      parts.push(make("div", { class: "of-network", "data-network": name }, make("h4", {}, name, make("span", { class: "small" }, told)), make("div", { class: `gallery ${data.kind}` }, ...cards)));
    });
    parts.push(make("h4", {}, "All attacks and bounds"), attacksTable(data, place));
    imagePlace.replaceChildren(...parts);
    byId("image").querySelector("details.fold").open = true;
    apply();
  };
  const choose = async (image, { write = true, go = false } = {}) => {
    if (!imageData) return;
    const data = await imageData;
    showImage(data, data.places.has(image) ? image : null);
    if (go) { reveal(byId("image")); byId("image-name")?.focus({ preventScroll: true }); }
    if (write) changed();
  };

  // Which images can be chosen: those whose number or class is written.
  const CHOICES = 60;
  const showChoices = (data) => {
    const words = byId("image-find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const match = ([image, label]) => words.every((word) => String(image) === word || named(data, label).toLowerCase().startsWith(word) || word === `#${image}`);
    const exactly = ([image]) => String(image) === words[0] ? 0 : 1;
    const fitting = data.images.filter(match).sort((a, b) => exactly(a) - exactly(b));
    const buttons = fitting.slice(0, CHOICES).map(([image, label]) => {
      const place = data.places.get(image);
      const button = make("button", { type: "button", class: "choice", "data-image": String(image), "aria-pressed": String(image === chosenImage), "aria-label": `Image ${image}, class ${named(data, label)}` });
      if (data.kind === "picture" && data.shown.has(place)) {
        const picture = drawnFrom(data, part(data, data.values, 0, place), "");
        picture.removeAttribute("role");
        picture.removeAttribute("aria-label");
        button.append(picture);
      }
      button.append(make("span", {}, `${image}: ${named(data, label)}`));
      return button;
    });
    byId("image-choice").replaceChildren(...buttons);
    const more = fitting.length > CHOICES ? `, the first ${CHOICES} of them below` : "";
    byId("image-count").textContent = `${fitting.length} of ${data.images.length} image${data.images.length === 1 ? "" : "s"}${more}`;
  };
  if (imageData) {
    imageData.then((data) => {
      showChoices(data);
      byId("image-find").addEventListener("input", () => showChoices(data));
      byId("image-find").addEventListener("keydown", (event) => {
        const first = byId("image-choice").querySelector("button");
        if (event.key === "Enter" && first) choose(Number(first.dataset.image));
      });
      const step = (by) => choose(data.images[data.places.get(chosenImage) + by][0]);
      byId("image-previous").addEventListener("click", () => step(-1));
      byId("image-next").addEventListener("click", () => step(1));
      byId("image-close").addEventListener("click", () => choose(null));
    }).catch(() => { byId("image-count").textContent = "This browser cannot unpack the images; the numbers are in records.csv."; });
    document.addEventListener("click", (event) => {
      const button = event.target.closest?.("button[data-image]");
      if (button) choose(Number(button.dataset.image), { go: !button.matches(".choice") });
    });
  }
