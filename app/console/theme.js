// Before anything is drawn: the theme that was chosen here, if any; else the system's holds.
(() => {
  const chosen = localStorage.getItem("conviction.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
