// Adds "Bearer " to an access token that was pasted without it.
"use strict";
(function () {
    var intercept = swaggerUiConfig.requestInterceptor;
    swaggerUiConfig.requestInterceptor = function (request) {
        var sent = request.headers && request.headers.Authorization;
        if (sent && !/^bearer /i.test(sent.trim())) {
            request.headers.Authorization = "Bearer " + sent.trim();
        }
        return intercept(request);
    };
})();
