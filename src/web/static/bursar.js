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
