// Shows the service's own document. Without a validator: the default one is on the internet.
SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#ui",
    deepLinking: true,
    validatorUrl: null,
    // Swagger UI takes an example of lines for a JSON string, and sends it as one.
    requestInterceptor: (request) => {
        const lines = /ndjson/.test(request.headers?.["Content-Type"]);
        if (lines && typeof request.body === "string" && request.body.startsWith('"')) {
            request.body = JSON.parse(request.body);
        }
        return request;
    },
});
