// Scatter plots: the dot that is pointed at, touched, or reached with the arrow keys shows its values.
for (const plot of document.querySelectorAll("[data-plot]")) {
  const dots = [...plot.querySelectorAll("[data-tip]")];
  const area = plot.querySelector(".plot-area");
  const text = document.createElement("p");
  const hint = "Point at a dot, touch it, or step through the dots with the arrow keys.";
  text.className = "plot-text";
  text.setAttribute("role", "status");
  text.textContent = hint;
  plot.append(text);
  plot.tabIndex = 0;
  plot.setAttribute("role", "group");
  plot.setAttribute("aria-label", `Plot: ${area.getAttribute("aria-label")}. Arrow keys step through the dots.`);
  const ordered = [...dots].sort((a, b) => parseFloat(a.style.left) - parseFloat(b.style.left));
  let at = null;
  const choose = (dot) => {
    at?.classList.remove("at");
    at = dot;
    at?.classList.add("at");
    text.textContent = at ? at.dataset.tip : hint;
  };
  const open = (dot) => {
    if (dot?.dataset.case) document.dispatchEvent(new CustomEvent("open-case", { detail: Number(dot.dataset.case) }));
  };
  // Dots overlap and are small under a finger: the nearest one within reach is meant.
  const nearest = ({ clientX, clientY }) => {
    let [best, reach] = [null, 24];
    for (const dot of dots) {
      const box = dot.getBoundingClientRect();
      const away = Math.hypot(clientX - box.x - box.width / 2, clientY - box.y - box.height / 2);
      if (away < reach) [best, reach] = [dot, away];
    }
    return best;
  };
  area.addEventListener("pointermove", (event) => { const dot = nearest(event); if (dot) choose(dot); });
  area.addEventListener("click", (event) => { const dot = nearest(event); if (dot) choose(dot); open(dot); });
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step) {
      const next = at ? ordered.indexOf(at) + step : step > 0 ? 0 : ordered.length - 1;
      choose(ordered[Math.min(Math.max(next, 0), ordered.length - 1)]);
      event.preventDefault();
    } else if (event.key === "Enter") open(at);
  });
}
