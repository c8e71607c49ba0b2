
  // Filters: whatever carries the name of something unchecked is hidden, in tables and inside figures.
  const groups = all("fieldset[data-filter]");
  const reset = byId("reset");
  const hiddenNames = () => new Map(groups.map((group) => [
    group.dataset.filter, new Set(all("input", group).filter((box) => !box.checked).map((box) => box.value)),
  ]));

  // A sentence of the summary about something hidden stays, and says that it is hidden.
  const said = all("#summary :is(.headline, .verdict, .brief dd, .lines dd > b, .cautions li)").map((place) => [place, place.textContent]);
  const asWord = (name) => new RegExp(`(?<![\\w-])${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?![\\w-])`);
  const annotate = (names) => {
    all("#summary .is-hidden").forEach((note) => note.remove());
    const sought = names.map((name) => [name, asWord(name)]);
    for (const [place, text] of said) {
      const found = sought.filter(([, word]) => word.test(text)).map(([name]) => name);
      place.classList.toggle("about-hidden", found.length > 0);
      if (found.length) place.append(make("small", { class: "is-hidden" }, ` (hidden by the filter: ${found.join(", ")})`));
    }
  };

  const apply = () => {
    const hidden = hiddenNames();
    const boxes = groups.flatMap((group) => all("input", group).filter((box) => !box.checked));
    const off = boxes.map((box) => box.closest("label").textContent.trim());
    const keys = [...hidden.keys()];
    for (const element of keys.length ? all(keys.map((name) => `main [data-${name}]`).join(",")) : []) {
      const hide = keys.some((name) => hidden.get(name).has(element.dataset[name]));
      element.classList.toggle("filtered", hide);
    }
    if (reset) reset.disabled = off.length === 0;
    annotate(boxes.filter((box) => box.closest("fieldset").dataset.filter !== "norm").map((box) => box.closest("label").textContent.trim()));
    const names = off.slice(0, 8).join(", ") + (off.length > 8 ? " and others" : "");
    byId("filter-state").textContent = off.length === 0 ? "" : `${off.length} hidden: ${names}. Nothing is computed again: the summary and all distances over all attacks still include it.`;
    countRows();
    showOverflow();
  };
  groups.forEach((group) => group.addEventListener("change", () => { apply(); changed(); }));
  reset?.addEventListener("click", () => {
    groups.forEach((group) => all("input", group).forEach((box) => { box.checked = true; }));
    apply();
    changed();
  });
