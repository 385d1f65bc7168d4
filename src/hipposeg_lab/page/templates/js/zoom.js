// A closer look at a figure: by its button (keyboard) or by a press on the picture.
{
  const dialog = document.getElementById("zoom");
  const open = (image) => {
    const copy = image.cloneNode();
    copy.loading = "eager";
    dialog.querySelector(".zoom-body").replaceChildren(copy);
    const caption = image.closest("figure").querySelector("figcaption").cloneNode(true);
    const name = caption.querySelector(".file");
    document.getElementById("zoom-title").textContent = name.textContent;
    name.remove();
    dialog.querySelector(".fine").textContent = caption.textContent;
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
