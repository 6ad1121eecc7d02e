# Exported models inside TF-Serving's own image, to run where no folder can be mounted. In a folder with models/ (adl export
# --to models) and deploy/ (adl deploy --models models --out deploy):
#
#   docker build -f docker/serving.Dockerfile -t adl-serving FOLDER
#   docker run --rm -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 adl-serving
#
# Models that were exported for several batch sizes also take: docker run ... adl-serving FLAGS, with the flags that
# deploy/compose.yaml has. A key for TLS does not belong into an image: mount it, as compose.yaml does.
FROM tensorflow/serving:2.15.1
COPY models /models
COPY deploy/models.config deploy/batching.config deploy/monitoring.config /config/
# Faster on processors without AVX-512 (docs/performance.md).
ENV TF_ENABLE_ONEDNN_OPTS=1
# Not root, and not the image's own entry point: that is a shell, which does not forward SIGTERM.
USER 65534:65534
EXPOSE 8500 8501
ENTRYPOINT ["/usr/bin/tensorflow_model_server"]
CMD ["--port=8500", \
     "--rest_api_port=8501", \
     "--model_config_file=/config/models.config", \
     "--model_config_file_poll_wait_seconds=30", \
     "--allow_version_labels_for_unavailable_models=true", \
     "--monitoring_config_file=/config/monitoring.config", \
     "--enable_grpc_healthcheck_service=true"]
