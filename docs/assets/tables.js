// A table that is wider than the page is scrolled with the keyboard too, once its frame can have the focus.
document$.subscribe(() => {
  for (const frame of document.querySelectorAll(".md-typeset__scrollwrap")) frame.tabIndex = 0
})
