"use strict";
{
  const rows = [...document.querySelectorAll("tr[data-suite]")];
  const choices = [...document.querySelectorAll("[data-choose]")];
  const shown = document.getElementById("chosen");
  const compare = document.getElementById("compare");
  const hint = compare.textContent;
  const shell = (word) => (/^[\w.@%+=:,/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

  function filter() {
    const wanted = Object.fromEntries(choices.map((choice) => [choice.dataset.choose, choice.value]));
    for (const row of rows) {
      const has =
        (!wanted.suite || row.dataset.suite === wanted.suite) &&
        (!wanted.dataset || row.dataset.dataset === wanted.dataset) &&
        (!wanted.network || JSON.parse(row.dataset.networks).includes(wanted.network));
      row.classList.toggle("filtered", !has);
    }
    const left = rows.filter((row) => !row.classList.contains("filtered")).length;
    shown.textContent = choices.some((choice) => choice.value) ? `${left} of ${rows.length} runs` : "";
  }

  function mark() {
    const chosen = rows.map((row) => row.querySelector("input")).filter((box) => box.checked).map((box) => box.value);
    // The table has the latest first; a comparison reads from the earlier to the later.
    chosen.reverse();
    compare.textContent = hint;
    if (chosen.length < 2) return;
    compare.textContent = "Compare them with: ";
    const code = document.createElement("code");
    code.textContent = `python -m bench.report ${chosen.map((name) => shell(`results/${name}`)).join(" ")}`;
    compare.append(code);
    const page = `compare-${chosen.join("-").slice(0, 150)}`;
    const link = [...document.querySelectorAll("section a")].find((a) => a.textContent === page);
    if (link) {
      const there = document.createElement("a");
      there.href = link.href;
      there.textContent = "the page that is there already";
      compare.append(", or open ", there);
    }
  }

  for (const choice of choices) choice.addEventListener("change", filter);
  for (const row of rows) row.querySelector("input").addEventListener("change", mark);
}
