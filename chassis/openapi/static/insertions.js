// Replaces drf-yasg's insQ.min.js, which adds an inline style that the content security policy blocks. drf-yasg uses it only
// for the button of session login, which we do not have, and to hide a version.
"use strict";
window.insertionQ = function () {
    return { every: function () {} };
};
