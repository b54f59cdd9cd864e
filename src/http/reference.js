// Shows the service's own document. Without a validator: the default one is on the internet.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null });
