# 1.2 completions
curl http://localhost:8008/v1/completions \
    -X POST \
    -d '{
            "model": "Intel/neural-chat-7b-v3-3",
            "prompt": "What is Deep Learning?",
            "max_tokens": 32,
            "temperature": 0
        }' \
    -H "Content-Type: application/json"
# 1.2 chat
curl http://localhost:8008/v1/chat/completions \
    -H "Content-Type: application/json" \
    -d '{
            "model": "Intel/neural-chat-7b-v3-3",
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is Deep Learning?"}
            ],
            "max_tokens": 32,
            "temperature": 0
        }'
# 2.3 completions
curl http://localhost:8008/v1/completions \
    -X POST \
    -d '{"model": "Intel/neural-chat-7b-v3-3", "prompt": "What is Deep Learning?", "max_tokens": 32, "temperature": 0}' \
    -H "Content-Type: application/json"
# 2.3 health
curl http://localhost:9000/v1/health_check\
    -X GET \
    -H 'Content-Type: application/json'
# 2.3 non-streaming
curl http://localhost:9000/v1/chat/completions \
    -X POST \
    -d '{
            "messages": {
                "system": "### You are a helpful, respectful, and honest assistant to help the user with questions. Please refer to the search results obtained from the local knowledge base. Refer also to the conversation history if you think it is relevant to the current question. Ignore all information that you think is not relevant to the question. If you dont know the answer to a question, please dont share false information. ### Search results:  \n\n",
                "user": "### Question: Who are you? \n\n"
                },
            "max_new_tokens":17,
            "top_p":0.95,
            "temperature":0.01,
            "streaming":false
        }' \
    -H 'Content-Type: application/json'
# 2.3 streaming
curl http://localhost:9000/v1/chat/completions \
    -X POST \
    -d '{
            "messages": {
                "system": "### You are a helpful, respectful, and honest assistant to help the user with questions. Please refer to the search results obtained from the local knowledge base. Refer also to the conversation history if you think it is relevant to the current question. Ignore all information that you think is not relevant to the question. If you dont know the answer to a question, please dont share false information. ### Search results:  \n\n",
                "user": "### Question: What is Deep Learning? \n\n"
                },
            "max_new_tokens":32,
            "top_p":0.95,
            "temperature":0.01,
            "streaming":true
        }' \
    -H 'Content-Type: application/json'
