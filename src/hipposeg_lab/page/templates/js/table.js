// Tables: a column's name sorts, the fields above filter. Rows marked data-first stay on top and in sight.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const key = (row) => {
      const cell = row.cells[column];
      const text = cell.textContent.trim();
      if (cell.tagName !== "TD" || cell.classList.contains("text")) return text;
      const number = cell.querySelector("data")?.value ?? text;
      return number === "" || isNaN(number) ? null : Number(number);
    };
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : column === 0;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => {
        const first = ("first" in b.dataset) - ("first" in a.dataset);
        const [x, y] = [key(a), key(b)];
        if (first || x === null || y === null) return first || (x === null) - (y === null);
        const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
        return up ? order : -order;
      });
      body.append(...rows);
    });
  });
}

for (const form of document.querySelectorAll("form[data-filters]")) {
  const rows = [...document.getElementById(form.dataset.filters).tBodies[0].rows];
  const fields = [...form.querySelectorAll("[data-field]")];
  const fits = (row, { value, dataset: { field } }) => {
    if (field === "text") return row.textContent.toLowerCase().includes(value.trim().toLowerCase());
    return !value || row.dataset[field] === value || "first" in row.dataset;
  };
  const apply = () => {
    const others = fields.filter(({ dataset: { field } }) => field !== "text"), found = fields.filter((field) => !others.includes(field));
    let shown = 0, elsewhere = 0;
    for (const row of rows) {
      const [hit, kept] = [found, others].map((some) => some.every((field) => fits(row, field)));
      row.hidden = !(hit && kept);
      shown += hit && kept;
      elsewhere += hit && !kept;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length} rows` +
      (elsewhere ? `; ${elsewhere} more ${found.some(({ value }) => value) ? `${elsewhere === 1 ? "hit" : "hits"} ` : ""}hidden by the other filters` : "");
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const field of fields) field.value = "";
    apply();
  });
  apply();
}
