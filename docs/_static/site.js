// What scrolls sideways can be reached by keyboard, and the parts of a page have names.
const SCROLLING = "pre, .table-wrapper, .math-wrapper, .output.text_html, div.math";

function reachable() {
  for (const part of document.querySelectorAll(SCROLLING)) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "Site");
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
  const content = document.querySelector("[role=main]");
  if (content && !document.querySelector("h1")) {
    const heading = document.createElement("h1");
    heading.textContent = document.title.split(" - ")[0];
    content.prepend(heading);
  }
  // A signature over several lines comes as a list of definitions without terms, which is none.
  for (const signature of document.querySelectorAll("dt.sig > dl")) {
    const lines = document.createElement("div");
    for (const parameter of [...signature.children]) {
      const line = document.createElement("div");
      line.className = "parameter";
      line.append(...parameter.childNodes);
      lines.append(line);
    }
    signature.replaceWith(lines);
  }
  reachable();
  addEventListener("resize", reachable);
});
