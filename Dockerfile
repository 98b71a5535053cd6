# One image for each service: docker build --build-arg SERVICE=gateway --build-arg COMMAND=millrace-gateway .
# Plain Dockerfile instructions only: the classic builder of an older engine builds it as well.
ARG PYTHON_IMAGE=python:3.13.14-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements-build.txt ./
# The tools that build our packages stay in an environment of their own, out of the final image.
RUN python -m venv /tools && /tools/bin/pip install --require-hashes -r requirements-build.txt \
 && python -m venv --without-pip /venv
ARG SERVICE
# First what changes rarely. Hash mode refuses local folders, hence the second step without dependencies.
COPY services/${SERVICE}/requirements.txt ./
RUN /tools/bin/pip --python /venv/bin/python install --require-hashes -r requirements.txt
COPY services/contract ./services/contract
COPY services/${SERVICE} ./services/${SERVICE}
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./services/contract ./services/${SERVICE} \
 && /tools/bin/pip --python /venv/bin/python install --no-deps --no-index wheels/*.whl \
 && /tools/bin/pip --python /venv/bin/python check

FROM ${PYTHON_IMAGE}
ARG COMMAND
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /venv /venv
# The entry point has one name in every image, so that `docker compose run` and `exec` need no other.
RUN ln -s /venv/bin/${COMMAND} /usr/local/bin/entrypoint && install -d -o 10001 -g 10001 -m 0750 /var/lib/millrace \
 && install -d -o 10001 -g 10001 -m 0755 /var/lib/millrace-requests
USER 10001:10001
WORKDIR /var/lib/millrace
ENTRYPOINT ["/usr/local/bin/entrypoint"]
CMD ["run"]
