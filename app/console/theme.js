// Applies the stored theme before the first paint; without one, the system's theme applies.
(() => {
  const chosen = localStorage.getItem("conviction.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
