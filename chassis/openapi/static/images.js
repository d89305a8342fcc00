// Replaces Redoc's only image, a logo from another host, with an empty element. The content security policy would block it
// with an error in the console.
"use strict";
(function () {
    var create = document.createElement;
    document.createElement = function (name) {
        return create.apply(document, name === "img" ? ["span"] : arguments);
    };
})();
