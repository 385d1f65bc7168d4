"use strict";
document.documentElement.classList.add("js");

// Sortable tables: each header becomes a button; numbers sort by data-value, the rest by text, empty cells last.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : column === 0;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const cell = row.cells[column];
        if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
        const text = cell.textContent.trim();
        return cell.tagName === "TD" && !cell.classList.contains("text") ? null : text;
      };
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return up ? order : -order;
      });
      body.append(...rows);
    });
  });
}

// A closer look at a figure: by its button (keyboard) or by a press on the picture.
const dialog = document.getElementById("zoom");
if (dialog && dialog.showModal) {
  const open = (image) => {
    const copy = image.cloneNode();
    dialog.querySelector(".zoom-body").replaceChildren(copy);
    dialog.showModal();
  };
  for (const image of document.querySelectorAll(".paper img")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "zoom-button";
    button.textContent = "Enlarge";
    button.setAttribute("aria-label", "Enlarge this figure");
    button.addEventListener("click", () => open(image));
    image.addEventListener("click", () => open(image));
    image.after(button);
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

// Details print open.
addEventListener("beforeprint", () => { for (const d of document.querySelectorAll("details.facts")) d.open = true; });
