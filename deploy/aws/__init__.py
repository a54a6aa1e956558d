"""The case study's deployment: API Gateway, a Lambda function, and the model on SageMaker."""
