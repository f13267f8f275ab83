// What scrolls sideways can be reached with the keyboard; what does not scroll is no stop on the way.
(() => {
  const scrolling = ".md-typeset pre > code, .md-typeset__scrollwrap, .md-typeset__table";
  const look = () => {
    for (const each of document.querySelectorAll(scrolling)) {
      if (each.scrollWidth > each.clientWidth + 1) {
        each.tabIndex = 0;
        if (each.tagName !== "CODE") {
          each.setAttribute("role", "region");
          each.setAttribute("aria-label", "A table that scrolls");
        }
      } else {
        each.removeAttribute("tabindex");
      }
    }
  };
  addEventListener("load", look);
  addEventListener("resize", look);
})();
