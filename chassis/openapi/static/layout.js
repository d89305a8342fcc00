// The page without the bar at its top, which would read documents from anywhere, and whose logo writes a style into the
// page that the content security policy refuses.
"use strict";
swaggerUiConfig.layout = "BaseLayout";
