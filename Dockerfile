FROM python:3.12-slim
COPY pyproject.toml README.md LICENSE /src/
COPY requirements /src/requirements
COPY phyda_cli /src/phyda_cli
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement /src/requirements/run.txt
RUN pip install --no-cache-dir --no-deps --no-build-isolation /src && rm -r /src
RUN useradd --create-home phyda
USER phyda
WORKDIR /data
ENTRYPOINT ["phyda"]
CMD ["--help"]
