// Of several panels side by side in the document, a list shows one. Without script all of them stand there.
for (const box of document.querySelectorAll("[data-choose]")) {
  const panels = [...box.querySelectorAll(":scope > [data-choice]")];
  if (panels.length < 2) continue;
  const label = document.createElement("label");
  const list = document.createElement("select");
  label.className = "choose";
  label.append(`${box.dataset.choose} `, list);
  for (const panel of panels) list.add(new Option(panel.dataset.choice));
  const show = () => panels.forEach((panel, index) => { panel.hidden = index !== list.selectedIndex; });
  list.addEventListener("change", show);
  box.prepend(label);
  show();
}
