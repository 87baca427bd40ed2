// Escape puts what a term means away, until it is pointed at or reached anew.
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const term of document.querySelectorAll(".term:hover, .term:focus-within")) {
    term.classList.add("away");
    for (const left of ["mouseleave", "focusout"]) term.addEventListener(left, () => term.classList.remove("away"), { once: true });
  }
});
