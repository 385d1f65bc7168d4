"use strict";
// What needs a script is shown from here on; and the contents list follows the reader.
document.documentElement.classList.add("js");

{
  const links = new Map([...document.querySelectorAll(".toc a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const id of links.keys()) seen.observe(document.getElementById(id));
}

// What an address names is opened, with the details around and in it.
{
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const around = target.closest("details");
    for (const one of [...target.querySelectorAll("details"), ...(around ? [around] : [])]) one.open = true;
    target.scrollIntoView({ behavior: "instant" });
  };
  addEventListener("hashchange", open);
  addEventListener("load", open);
}

// Albums and details print open, and close again; configurations stay closed.
{
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open], .recipe)")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
}
