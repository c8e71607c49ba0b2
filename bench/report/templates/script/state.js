
  // What the reader has chosen stands in the address, behind the place in the page: #security-l2?hide.network=MLP&image=3.
  // A reload or a copied address restores it, and so does the browser's way back. What is not understood is ignored.
  const OURS = "bench";
  let anchor = "";
  const written = () => {
    const state = new URLSearchParams();
    for (const [name, values] of hiddenNames()) values.forEach((value) => state.append(`hide.${name}`, value));
    for (const heading of all(".table-block th[aria-sort]")) {
      const id = heading.closest(".table-block").id;
      state.append("sort", [id, heading.dataset.key, heading.getAttribute("aria-sort")].join("."));
    }
    for (const field of all("input[data-table]")) if (field.value) state.append(`find.${field.dataset.table}`, field.value);
    if (chosenImage !== null) state.append("image", String(chosenImage));
    if (root.dataset.theme) state.append("theme", root.dataset.theme);
    const text = state.toString();
    return anchor || text ? `#${anchor}${text ? `?${text}` : ""}` : `${location.pathname}${location.search}`;
  };
  const remember = (push) => {
    const address = written();
    if (address === location.hash || !(address.startsWith("#") || location.hash)) push = false;
    try {
      if (push) history.pushState(OURS, "", address); else history.replaceState(OURS, "", address);
    } catch {
      // Some places that show a page give it no history.
    }
  };
  changed = (push = true) => remember(push);

  const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
  const split = () => {
    const [place, ...rest] = location.hash.slice(1).split("?");
    return [decoded(place), rest.length ? new URLSearchParams(rest.join("?")) : null];
  };
  const restore = async (state) => {
    for (const group of groups) {
      const off = new Set(state.getAll(`hide.${group.dataset.filter}`));
      all("input", group).forEach((box) => { box.checked = !off.has(box.value); });
    }
    setTheme(state.get("theme"));
    if (imageData) {
      const image = state.get("image");
      await choose(image !== null && /^\d+$/.test(image) ? Number(image) : null, { write: false }).catch(() => {});
    }
    const sorts = new Map(state.getAll("sort").map((item) => [item.split(".")[0], item.split(".").slice(1)]));
    for (const block of all(".table-block")) {
      const table = block.querySelector("table");
      const [name, direction] = sorts.get(block.id) ?? [];
      const heading = all("th[data-key]", table).find((item) => item.dataset.key === name);
      const known = heading && ["ascending", "descending"].includes(direction);
      if (known || table.querySelector("th[aria-sort]")) sortBy(table, known ? heading : null, direction === "descending" ? -1 : 1);
      const field = block.querySelector("input[data-table]");
      const text = state.get(`find.${block.id}`) ?? "";
      if (field && field.value !== text) { field.value = text; find(field); }
    }
    apply();
  };
  const go = (behavior) => {
    const place = anchor && byId(anchor);
    if (place) reveal(place, behavior);
  };
  addEventListener("popstate", async (event) => {
    const [place, state] = split();
    anchor = place;
    // A link inside the page, or an address typed without a state, keeps what is chosen.
    if (event.state === OURS || state) await restore(state ?? new URLSearchParams());
    if (event.state !== OURS) { remember(false); go(); }
  });
  (async () => {
    const [place, state] = split();
    anchor = place;
    if (state) await restore(state);
    remember(false);
    go("instant");
    showOverflow();
  })();
