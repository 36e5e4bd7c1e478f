// Takes dark mode and colours from the CloudStack page around. Without it, pages follow the system's setting.
(function () {
  "use strict";
  var root = document.documentElement;

  function outside() {
    try {
      return window.parent === window ? null : window.parent.document.body;
    } catch (error) {
      return null;
    }
  }

  var body = outside();
  if (body) {
    var follow = function () {
      var dark = body.classList.contains("dark-mode");
      root.classList.toggle("dark", dark);
      root.classList.toggle("light", !dark);
    };
    follow();
    new MutationObserver(follow).observe(body, { attributes: true, attributeFilter: ["class"] });
  }

  // On a narrow screen the menu is one line that moves: the present page is brought into sight.
  var menu = document.querySelector(".menu");
  var here = menu && menu.querySelector("a[aria-current]");
  if (here && menu.scrollWidth > menu.clientWidth) {
    var left = here.getBoundingClientRect().left - menu.getBoundingClientRect().left;
    menu.scrollLeft += left - (menu.clientWidth - here.offsetWidth) / 2;
  }

  // A form is sent once, however often its button is pressed.
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    if (String(form.method).toLowerCase() === "post") {
      form.dataset.sent = "yes";
    }
  });
  window.addEventListener("pageshow", function (event) {
    // A page that the browser kept for the way back shows what was, and its forms were sent already.
    if (event.persisted) {
      window.location.reload();
      return;
    }
    Array.prototype.forEach.call(document.forms, function (form) { delete form.dataset.sent; });
  });

  // Buttons that copy: they are there only where a script runs.
  Array.prototype.forEach.call(document.querySelectorAll("button[data-copy]"), function (button) {
    var source = document.getElementById(button.dataset.copy);
    if (!source || !navigator.clipboard) { return; }
    button.hidden = false;
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(source.textContent).then(function () {
        button.textContent = button.dataset.copied || button.textContent;
      });
    });
  });

  // What is chosen takes effect at once; without a script there is a button.
  Array.prototype.forEach.call(document.querySelectorAll("form[data-auto] select"), function (select) {
    select.addEventListener("change", function () { select.form.submit(); });
  });

  var colours = {
    "@primary-color": "--primary",
    "@success-color": "--success",
    "@warning-color": "--warning",
    "@error-color": "--error"
  };
  fetch("/client/config.json", { credentials: "omit" })
    .then(function (answer) { return answer.ok ? answer.json() : {}; })
    .then(function (config) {
      var theme = (config && config.theme) || {};
      Object.keys(colours).forEach(function (name) {
        if (/^#[0-9a-f]{3,8}$/i.test(String(theme[name]))) {
          root.style.setProperty(colours[name], theme[name]);
        }
      });
    })
    .catch(function () { /* the colours of the style stay */ });
})();
