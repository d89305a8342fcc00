// Removes the top bar, which could load documents from other hosts, and whose logo adds an inline style that the content
// security policy blocks.
"use strict";
swaggerUiConfig.layout = "BaseLayout";
